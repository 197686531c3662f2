// Tries the handler on the first files of the source, without iterd:
//
//     {{test}}
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { handle } from "./plugin/handler.mjs";

const context = { attempt: 1, key: "test", index: 0 };
const folder = mkdtempSync(join(tmpdir(), "handler-"));
after(() => rmSync(folder, { recursive: true }));

function file(content) {
  const path = join(folder, "file");
  writeFileSync(path, content);
  return { path };
}

test("the files of the sample are read or given up on", async () => {
  const text = readFileSync(new URL("sample.jsonl", import.meta.url), "utf8");
  for (const item of text.trimEnd().split("\n").map((line) => JSON.parse(line))) {
    if (item.size > 0) {
      assert.equal((await handle(item, context)).bytes, item.size);
    } else {
      await assert.rejects(handle(item, context), { name: "Unusable" });
    }
  }
});

test("bytes and lines are counted", async () => {
  const { bytes, lines } = await handle(file("one\ntwo\n"), context);
  assert.deepEqual({ bytes, lines }, { bytes: 8, lines: 2 });
});

test("an empty file is given up on", async () => {
  await assert.rejects(handle(file(""), context), { name: "Unusable", retry: false });
});
