"""A client of a system's daemon, as its README has it, for one action:

    deploy FOLDER       what its deploy.py prints
    start ARN INPUT     begins an execution; prints its ARN
    stop ARN            ends an execution
    list ARN            the statuses of a machine's executions, the newest first, JSON; in pages of three
    look ARN            prints status, output and error of an execution, JSON
    messages QUEUE      receives all there are; prints their bodies, JSON
    listen TOPIC QUEUE  has a queue, which is made, get the messages of a topic
    post PATH BODY      a request to the daemon, with the token DOWNLOADS_TOKEN; prints its answer
    same BUCKET URL     compares each object with what a web server has at its key; prints their number
    items TABLE         prints how many there are

Where services are, and with what requests are signed, the environment says.
"""

import json
import os
import runpy
import sys
import urllib.error
import urllib.request

import boto3

action, first, *rest = sys.argv[1:]
if action == "deploy":
    runpy.run_path(first + "/deploy.py")
elif action == "start":
    states = boto3.client("stepfunctions")
    print(states.start_execution(stateMachineArn=first, input=rest[0])["executionArn"])
elif action == "stop":
    boto3.client("stepfunctions").stop_execution(executionArn=first)
elif action == "list":
    states, statuses, token = boto3.client("stepfunctions"), [], {}
    while token is not None:
        page = states.list_executions(stateMachineArn=first, maxResults=3, **token)
        statuses += [execution["status"] for execution in page["executions"]]
        token = {"nextToken": page["nextToken"]} if "nextToken" in page else None
    print(json.dumps(statuses))
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
elif action == "listen":
    queues, topics = boto3.client("sqs"), boto3.client("sns")
    url = queues.create_queue(QueueName=rest[0])["QueueUrl"]
    told = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topics.subscribe(TopicArn=first, Protocol="sqs", Endpoint=told["Attributes"]["QueueArn"])
elif action == "post":
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL_SFN"] + first, rest[0].encode())
    request.add_header("Authorization", "Bearer " + os.environ["DOWNLOADS_TOKEN"])
    try:
        print(urllib.request.urlopen(request).read().decode())
    except urllib.error.HTTPError as error:
        print(error.code)
elif action == "same":
    objects = boto3.client("s3")
    count = 0
    for page in objects.get_paginator("list_objects_v2").paginate(Bucket=first):
        for found in page.get("Contents", []):
            stored = objects.get_object(Bucket=first, Key=found["Key"])["Body"].read()
            assert stored == urllib.request.urlopen(rest[0] + "/" + found["Key"]).read(), found
            count += 1
    print(count)
elif action == "items":
    print(boto3.client("dynamodb").scan(TableName=first, Select="COUNT")["Count"])
