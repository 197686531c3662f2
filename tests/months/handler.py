"""The client of a simulated API, and what its owner does with the answers.

The test keeps the API's side in a folder: the time, and how the API behaves at the moment. Each call is
noted there, so that the test can count them as the API would.
"""

import json

WORLD = "@WORLD@"


class TooManyRequests(Exception):
    """429: this record later; Retry-After says when."""

    retry_after_s = 60


class Unavailable(Exception):
    """503: the API is down for everybody; it asks to be left alone for a while."""

    close_limiter_s = 600


class Rejected(Exception):
    """400: the API will never take this record."""


def handle(item, context):
    with open(WORLD + "/clock") as clock:
        now = int(clock.read())
    with open(WORLD + "/api.json") as behaviour:
        api = json.load(behaviour)
    word = answer(api, item, now)
    with open(WORLD + "/calls", "a") as calls:
        calls.write(f"{now} {item['id']} {context.attempt} {word}\n")
    if word == "busy":
        raise TooManyRequests("429 Too Many Requests")
    if word == "down":
        raise Unavailable("503 Service Unavailable")
    if word == "rejected":
        raise Rejected("400 Bad Request")
    return @CODE@


def answer(api, item, now):
    if api["down"]:
        return "down"
    number = int(item["id"])
    if api["bad"] and number % 100 == 57:
        return "rejected"
    if api["busy"] and (number + now // 60_000_000) % 61 == 7:
        return "busy"
    return "taken"
