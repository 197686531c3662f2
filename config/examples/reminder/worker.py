"""Sends what reminders want sent, until it is stopped. Here sending is a line on the screen.

E-mail is an activity: the worker asks for a task and answers it. Short messages come from a queue, each with the token of the
task that waits for it. A task whose execution has been stopped waits for nobody any more; then there is nothing to answer.
"""

import json
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ConnectionError, HTTPClientError

states = boto3.client("stepfunctions", config=Config(read_timeout=70))
queues = boto3.client("sqs")


def answer(token, output):
    try:
        states.send_task_success(taskToken=token, output=json.dumps(output))
    except (
        states.exceptions.TaskTimedOut,
        states.exceptions.TaskDoesNotExist,
        states.exceptions.InvalidToken,
    ) as gone:
        print("nobody waits for that any more:", gone, flush=True)


def again(work):
    """Begins anew where the daemon is away for a while."""
    while True:
        try:
            work()
        except (ConnectionError, HTTPClientError) as away:
            print("nobody answers for now:", away, flush=True)
            time.sleep(2)


def emails():
    activity = states.create_activity(name="send-email")["activityArn"]
    while True:
        task = states.get_activity_task(activityArn=activity, workerName="worker.py")
        if task.get("taskToken"):
            message = json.loads(task["input"])["message"]
            print("e-mail:", message, flush=True)
            answer(task["taskToken"], {"email": message})


def short_messages():
    url = queues.get_queue_url(QueueName="short-messages")["QueueUrl"]
    while True:
        for found in queues.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", []):
            order = json.loads(found["Body"])
            print("short message:", order["message"], flush=True)
            answer(order["token"], {"sms": order["message"]})
            queues.delete_message(QueueUrl=url, ReceiptHandle=found["ReceiptHandle"])


threading.Thread(target=again, args=[emails], daemon=True).start()
again(short_messages)
