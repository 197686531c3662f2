"""Tries the handler on the first files of the source, without iterd:

    {{test}}
"""

import json
import pathlib
import sys
import tempfile
import types
import unittest

HERE = pathlib.Path(__file__).parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "plugin"))

import handler  # noqa: E402

CONTEXT = types.SimpleNamespace(attempt=1, key="test", index=0, id=None)


def handle(content):
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return handler.handle({"path": file.name}, CONTEXT)


class TestHandler(unittest.TestCase):
    def test_the_files_of_the_sample_are_read_or_given_up_on(self):
        lines = (HERE / "sample.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertGreater(len(lines), 0)
        for line in lines:
            item = json.loads(line)
            with self.subTest(item["path"]):
                if item["size"] > 0:
                    self.assertEqual(handler.handle(item, CONTEXT)["bytes"], item["size"])
                else:
                    self.assertRaises(handler.Unusable, handler.handle, item, CONTEXT)

    def test_bytes_and_lines_are_counted(self):
        result = handle(b"one\ntwo\n")
        self.assertEqual((result["bytes"], result["lines"]), (8, 2))

    def test_an_empty_file_is_given_up_on(self):
        with self.assertRaises(handler.Unusable) as caught:
            handle(b"")
        self.assertIs(caught.exception.retry, False)


if __name__ == "__main__":
    unittest.main()
