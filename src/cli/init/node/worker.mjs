// A worker of iterd: lines of JSON in, lines of JSON out, until standard input ends.
//
// A call is {"id", "item", "attempt", "key", "index", "item_id"}; its answer is {"id", "result"} or {"id",
// "error", "cause", "retry", "retry_after_s", "close_limiter_s"}, in any order. Standard output belongs to
// the answers, so what the handler prints goes to standard error, which iterd keeps as its log.
import { Console } from "node:console";
import { createInterface } from "node:readline";

import { handle } from "./handler.mjs";

globalThis.console = new Console(process.stderr, process.stderr);

function answer(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

async function take(call) {
  const { id, item, attempt, key, index, item_id } = call;
  try {
    const result = await handle(item, { attempt, key, index, id: item_id });
    answer({ id, result: result ?? null });
  } catch (error) {
    const { name = "Error", message = String(error), stack, retry, retry_after_s, close_limiter_s } = error ?? {};
    console.error(stack ?? message);
    answer({ id, error: name, cause: message, retry, retry_after_s, close_limiter_s });
  }
}

answer({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  // Not awaited: iterd sends no more calls at a time than `in_flight` in plugin.toml says.
  take(JSON.parse(line));
}
