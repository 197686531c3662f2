"""A client of a system's daemon, as its README has it, for one action:

    deploy FOLDER       what its deploy.py prints
    start ARN INPUT     begins an execution; prints its ARN
    stop ARN            ends an execution
    look ARN            prints status, output and error of an execution, JSON
    messages QUEUE      receives all there are; prints their bodies, JSON

Where services are, and with what requests are signed, the environment says.
"""

import json
import runpy
import sys

import boto3

action, first, *rest = sys.argv[1:]
if action == "deploy":
    runpy.run_path(first + "/deploy.py")
elif action == "start":
    states = boto3.client("stepfunctions")
    print(states.start_execution(stateMachineArn=first, input=rest[0])["executionArn"])
elif action == "stop":
    boto3.client("stepfunctions").stop_execution(executionArn=first)
elif action == "look":
    told = boto3.client("stepfunctions").describe_execution(executionArn=first)
    print(json.dumps([told["status"], json.loads(told.get("output", "null")), told.get("error")]))
elif action == "messages":
    queues = boto3.client("sqs")
    url = queues.get_queue_url(QueueName=first)["QueueUrl"]
    bodies = []
    while found := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in found]
    print(json.dumps(bodies))
