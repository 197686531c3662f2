// A handler as people write it, in JavaScript: plain functions, exceptions, state between items.
import host from "iterd:plugin/host@0.1.0";

let seen = 0;

export function handle(item, call) {
  const record = JSON.parse(item);
  seen += 1;
  host.log(`record ${call.id ?? call.index}, attempt ${call.attempt}`);
  if (record.busy) {
    throw { error: "Busy", cause: `come back, ${record.name}`, retry: true, retryAfterS: 30, closeLimiterS: null };
  }
  if (record.endless) {
    for (;;) record.count = (record.count ?? 0) + 1;
  }
  return JSON.stringify({ ...record, name: record.name.toUpperCase(), words: record.name.split(" ").length, seen });
}
