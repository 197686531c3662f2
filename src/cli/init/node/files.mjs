// What is done with each file.
//
// What `handle` returns, or its promise resolves to, is the file's result, as JSON. What it throws is the
// file's failure, and is tried again later unless the error (`retry = false`) or the job says that no retry
// helps. A record looks like this:
//
//     {{record}}
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

export class Unusable extends Error {
  name = "Unusable";
  retry = false;
}

/**
 * Tells how much is in a file. Replace it by what you need.
 *
 * `context.key` is the same at every attempt at a file: hand it to an API as its idempotency key.
 * `context.attempt` counts from 1; an error with `retry_after_s` puts its file off.
 */
export async function handle(item, context) {
  const hash = createHash("sha256");
  let bytes = 0;
  let lines = 0;
  for await (const block of createReadStream(item.path)) {
    hash.update(block);
    bytes += block.length;
    for (let at = block.indexOf(10); at >= 0; at = block.indexOf(10, at + 1)) lines += 1;
  }
  if (bytes === 0) {
    throw new Unusable("the file is empty");
  }
  return { bytes, lines, sha256: hash.digest("hex") };
}
