// What is done with each record.
//
// What `handle` returns, or its promise resolves to, is the record's result, as JSON. What it throws is the
// record's failure, and is tried again later unless the error (`retry = false`) or the job says that no
// retry helps. A record looks like this:
//
//     {{record}}

export class Unusable extends Error {
  name = "Unusable";
  retry = false;
}

const isEmpty = (value) =>
  value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0);

/**
 * Tells which fields are filled. Replace it by what you need.
 *
 * `context.key` is the same at every attempt at a record: hand it to an API as its idempotency key.
 * `context.attempt` counts from 1; an error with `retry_after_s` puts its record off.
 */
export async function handle(item, context) {
  const isObject = typeof item === "object" && item !== null && !Array.isArray(item);
  const fields = Object.entries(isObject ? item : { value: item });
  const empty = fields.filter(([, value]) => isEmpty(value)).map(([name]) => name);
  if (empty.length === fields.length) {
    throw new Unusable("every field is empty");
  }
  return { filled: fields.length - empty.length, empty };
}
