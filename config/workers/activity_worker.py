#!/usr/bin/env python3
"""Works the tasks of an activity, one after the other, until there are none for a while.

    eval "$(iterd env)"
    python3 activity_worker.py ACTIVITY_ARN [HANDLER] [--name NAME] [--idle SECONDS] [--heartbeat SECONDS]

It needs boto3 and nothing else, and works against AWS as well. HANDLER is `file.py:function`, whose function is given
a task's input and returns its output; without one, the output is the input. An exception fails the task with the
exception's name. Any number of workers, on any machines, share an activity; where one dies, the state's HeartbeatSeconds
and Retry give its task to another. Copy it, and make it yours.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import socket
import sys
import threading
import time

import boto3
import botocore.config
import botocore.exceptions


def load(handler):
    """The function that `file.py:function` names."""
    path, _, name = handler.rpartition(":")
    spec = importlib.util.spec_from_file_location("handler", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@contextlib.contextmanager
def beating(client, token, every):
    """Gives signs of life for a task while its handler works."""
    over = threading.Event()

    def beat():
        while not over.wait(every):
            try:
                client.send_task_heartbeat(taskToken=token)
            except (client.exceptions.TaskTimedOut, client.exceptions.TaskDoesNotExist):
                return  # Nobody waits for it any more.
            except botocore.exceptions.BotoCoreError as error:
                print(f"no sign of life: {error}", file=sys.stderr)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def work(client, task, handler, every):
    """Has one task done, and says what came of it."""
    token = task["taskToken"]
    try:
        with beating(client, token, every):
            output = json.dumps(handler(json.loads(task["input"])))
    except Exception as error:  # Whatever it is, the execution is to know.
        answer, fields = client.send_task_failure, {"error": type(error).__name__[:256], "cause": str(error)[:32768]}
    else:
        answer, fields = client.send_task_success, {"output": output}
    try:
        answer(taskToken=token, **fields)
    except (client.exceptions.TaskTimedOut, client.exceptions.TaskDoesNotExist):
        print("came too late: the task was given to another", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("activity", help="the ARN of the activity")
    parser.add_argument("handler", nargs="?", help="file.py:function")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}"[:80], help="told in histories")
    parser.add_argument("--idle", type=float, default=60, help="ends after so many seconds without a task")
    parser.add_argument("--heartbeat", type=float, default=10, help="seconds between signs of life")
    asked = parser.parse_args()
    handler = load(asked.handler) if asked.handler else lambda item: item
    # Why 70: the service holds the request for 60 seconds, and the SDK gives up after 60 by itself.
    config = botocore.config.Config(read_timeout=min(70, asked.idle + 1), retries={"total_max_attempts": 1})
    waiting = boto3.client("stepfunctions", config=config)
    saying = boto3.client("stepfunctions")
    last = time.monotonic()
    while time.monotonic() - last < asked.idle:
        try:
            task = waiting.get_activity_task(activityArn=asked.activity, workerName=asked.name)
        except (botocore.exceptions.ReadTimeoutError, botocore.exceptions.ConnectionClosedError):
            continue
        except botocore.exceptions.EndpointConnectionError:
            time.sleep(1)  # The service is away; it comes back.
            continue
        if task.get("taskToken"):
            work(saying, task, handler, asked.heartbeat)
            last = time.monotonic()


if __name__ == "__main__":
    main()
