"""Says how a long job stands, for a state machine that waits and asks again.

    "Ask":   {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:poller",
              "ResultPath": "$.status", "Next": "Ready"},
    "Ready": {"Type": "Choice", "Default": "Wait", "Choices": [
              {"Variable": "$.status", "StringEquals": "SUCCEEDED", "Next": "Done"}]},
    "Wait":  {"Type": "Wait", "SecondsPath": "$.wait_s", "Next": "Ask"}

The job is one that takes its time and nothing else: {"job": {"started": "2026-11-26T09:00:00Z",
"takes_s": 20}}. Put the question to your own system in its place.
"""

from datetime import datetime, timedelta, timezone


class UnknownJob(Exception):
    """What was asked for names no job."""


def main(event, context):
    job = event.get("job") or {}
    try:
        started = datetime.fromisoformat(job["started"].replace("Z", "+00:00"))
        ready = started + timedelta(seconds=job["takes_s"])
    except (KeyError, ValueError) as error:
        raise UnknownJob("no job can be told from %r" % job) from error
    now = datetime.now(timezone.utc)
    print("asked for a job that is ready at %s" % ready.isoformat())
    return "SUCCEEDED" if now >= ready else "RUNNING"
