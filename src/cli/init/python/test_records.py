"""Tries the handler on the first records of the source, without iterd:

    {{test}}
"""

import json
import pathlib
import sys
import types
import unittest

HERE = pathlib.Path(__file__).parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "plugin"))

import handler  # noqa: E402

CONTEXT = types.SimpleNamespace(attempt=1, key="test", index=0, id=None)


class TestHandler(unittest.TestCase):
    def test_every_record_of_the_sample_has_a_result(self):
        lines = (HERE / "sample.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertGreater(len(lines), 0)
        for line in lines:
            with self.subTest(line):
                result = handler.handle(json.loads(line), CONTEXT)
                self.assertGreater(result["filled"], 0)
                json.dumps(result, allow_nan=False)

    def test_empty_fields_are_named(self):
        result = handler.handle({"id": 0, "name": "", "tags": []}, CONTEXT)
        self.assertEqual(result, {"filled": 1, "empty": ["name", "tags"]})

    def test_a_record_without_anything_is_given_up_on(self):
        with self.assertRaises(handler.Unusable) as caught:
            handler.handle({"name": ""}, CONTEXT)
        self.assertIs(caught.exception.retry, False)


if __name__ == "__main__":
    unittest.main()
