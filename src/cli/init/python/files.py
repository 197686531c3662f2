"""What is done with each file.

iterd calls `handle` in a process that lives long: what is set up at the top of this file, such as a
session, serves many files. What it returns is the file's result, as JSON. What it raises is the
file's failure, and is tried again later unless the exception or the job says that no retry helps.
"""

import hashlib

# A record looks like this:
#
#     {{record}}


class Unusable(Exception):
    """There is nothing in the file to work with."""

    retry = False


def handle(item, context):
    """Tells how much is in a file. Replace it by what you need.

    `context.key` is the same at every attempt at a file: hand it to an API as its idempotency key.
    `context.attempt` counts from 1; an exception with `retry_after_s` puts its file off.
    """
    size, lines, digest = 0, 0, hashlib.sha256()
    with open(item["path"], "rb") as file:
        while block := file.read(1 << 20):
            size += len(block)
            lines += block.count(b"\n")
            digest.update(block)
    if size == 0:
        raise Unusable("the file is empty")
    return {"bytes": size, "lines": lines, "sha256": digest.hexdigest()}
