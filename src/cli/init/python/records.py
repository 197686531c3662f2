"""What is done with each record.

iterd calls `handle` in a process that lives long: what is set up at the top of this file, such as a
session, serves many records. What it returns is the record's result, as JSON. What it raises is the
record's failure, and is tried again later unless the exception or the job says that no retry helps.
"""

# A record looks like this:
#
#     {{record}}


class Unusable(Exception):
    """There is nothing in the record to work with."""

    retry = False


def handle(item, context):
    """Tells which fields are filled. Replace it by what you need.

    `context.key` is the same at every attempt at a record: hand it to an API as its idempotency key.
    `context.attempt` counts from 1; an exception with `retry_after_s` puts its record off.
    """
    fields = item if isinstance(item, dict) else {"value": item}
    empty = [name for name, value in fields.items() if value in (None, "", [], {})]
    if len(empty) == len(fields):
        raise Unusable("every field is empty")
    return {"filled": len(fields) - len(empty), "empty": empty}
