// Tries the handler on the first records of the source, without iterd:
//
//     {{test}}
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { handle } from "./plugin/handler.mjs";

const context = { attempt: 1, key: "test", index: 0 };

test("every record of the sample has a result", async () => {
  const text = readFileSync(new URL("sample.jsonl", import.meta.url), "utf8");
  const records = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  for (const record of records) {
    const result = await handle(record, context);
    assert.ok(result.filled > 0, JSON.stringify(record));
  }
});

test("empty fields are named", async () => {
  const result = await handle({ id: 0, name: "", tags: [] }, context);
  assert.deepEqual(result, { filled: 1, empty: ["name", "tags"] });
});

test("a record without anything is given up on", async () => {
  await assert.rejects(handle({ name: "" }, context), { name: "Unusable", retry: false });
});
