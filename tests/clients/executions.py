"""Executions with boto3, as a user of AWS writes it: start, wait, read, work, redrive, list."""

import json
import os
import time

import boto3
import botocore.config

ROLE = "arn:aws:iam::000000000000:role/any"

client = boto3.client("stepfunctions")
activity = client.create_activity(name="ask")["activityArn"]


def machine(name, states, start="A", **more):
    definition = json.dumps({"StartAt": start, "States": states})
    return client.create_state_machine(name=name, definition=definition, roleArn=ROLE, **more)["stateMachineArn"]


def waited(execution):
    for _ in range(3000):
        told = client.describe_execution(executionArn=execution)
        if told["status"] != "RUNNING":
            return told
        time.sleep(0.02)
    raise AssertionError(told)


def refused(error, call, **arguments):
    try:
        call(**arguments)
    except error as refusal:
        return refusal.response["Error"]["Message"]
    raise AssertionError(f"{call.__name__} was to be refused")


def history(execution, **more):
    pages = client.get_paginator("get_execution_history").paginate(executionArn=execution, **more)
    return [event for page in pages for event in page["events"]]


# An execution is started, waited for, and read page by page, from both ends.
passes = {name: {"Type": "Pass", "Next": chr(ord(name) + 1)} for name in "ABCDEFGHIJ"}
arn = machine("passes", {**passes, "K": {"Type": "Succeed"}}, publish=True)
begun = client.start_execution(stateMachineArn=f"{arn}:1", name="one", input='{"n":  1}')
assert client.start_execution(stateMachineArn=arn, input="{}")["executionArn"]
told = waited(begun["executionArn"])
assert told["status"] == "SUCCEEDED" and told["output"] == '{"n":  1}', told
assert told["startDate"] == begun["startDate"] <= told["stopDate"], told
events = history(begun["executionArn"], PaginationConfig={"PageSize": 7})
assert [event["id"] for event in events] == list(range(1, 25)), events
backwards = history(begun["executionArn"], reverseOrder=True, PaginationConfig={"PageSize": 5})
assert backwards == events[::-1]
assert events[0]["type"] == "ExecutionStarted" and events[-1]["type"] == "ExecutionSucceeded"
found = client.list_executions(stateMachineArn=f"{arn}:1")["executions"]
assert [item["name"] for item in found] == ["one"], found
message = refused(client.exceptions.InvalidExecutionInput, client.start_execution, stateMachineArn=arn, input="{'a'")
assert "was expecting double-quote to start field name" in message, message
message = refused(client.exceptions.ExecutionNotRedrivable, client.redrive_execution, executionArn=begun["executionArn"])
assert "Execution is SUCCEEDED and cannot be redriven" in message, message

# Thirteen executions on a page of ten and one of three, which is full, and the last.
many = machine("many", {"A": {"Type": "Succeed"}})
names = [f"n{n:02}" for n in range(13)]
for name in names:
    client.start_execution(stateMachineArn=many, name=name)
first = client.list_executions(stateMachineArn=many, maxResults=10)
rest = client.list_executions(stateMachineArn=many, maxResults=3, nextToken=first["nextToken"])
assert "nextToken" not in rest, rest
assert [item["name"] for item in first["executions"] + rest["executions"]] == names[::-1]
pages = client.get_paginator("list_executions").paginate(stateMachineArn=many, PaginationConfig={"PageSize": 4})
assert [len(page["executions"]) for page in pages] == [4, 4, 4, 1]

# An express machine is run at once, under the host that the SDK makes of it too.
express = machine("express", {"A": {"Type": "Pass", "Result": "fast", "End": True}}, type="EXPRESS")
assert client.start_sync_execution(stateMachineArn=express, input="{}")["output"] == '"fast"'

# An activity is worked; what fails is told, and redriven as often as it takes.
work = machine("work", {
    "A": {"Type": "Pass", "Result": {"to": "do"}, "Next": "B"},
    "B": {"Type": "Task", "Resource": activity, "TimeoutSeconds": 600, "HeartbeatSeconds": 60, "End": True}})
execution = client.start_execution(stateMachineArn=work)["executionArn"]
for count in range(3):
    task = client.get_activity_task(activityArn=activity, workerName="python")
    assert json.loads(task["input"]) == {"to": "do"}, task
    client.send_task_heartbeat(taskToken=task["taskToken"])
    client.send_task_failure(taskToken=task["taskToken"], error="Broken", cause="for now")
    refused(client.exceptions.TaskTimedOut, client.send_task_heartbeat, taskToken=task["taskToken"])
    told = waited(execution)
    assert (told["status"], told["error"], told["redriveStatus"]) == ("FAILED", "Broken", "REDRIVABLE"), told
    assert told["redriveCount"] == count, told
    date = client.redrive_execution(executionArn=execution, clientToken=f"t{count}")["redriveDate"]
    assert client.redrive_execution(executionArn=execution, clientToken=f"t{count}")["redriveDate"] == date
task = client.get_activity_task(activityArn=activity)
client.send_task_success(taskToken=task["taskToken"], output='"done"')
told = waited(execution)
assert (told["output"], told["redriveCount"]) == ('"done"', 3), told
assert [event["type"] for event in history(execution)].count("ExecutionRedriven") == 3
redriven = client.list_executions(stateMachineArn=work, redriveFilter="REDRIVEN")["executions"]
assert [item["executionArn"] for item in redriven] == [execution]
refused(client.exceptions.InvalidToken, client.send_task_success, taskToken="made up", output="1")

# A distributed Map: the failed child is found by its run, and redriven with it.
each = {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": activity, "End": True}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}}
mapped = machine("mapped", {"A": {"Type": "Map", "Label": "each", "ItemProcessor": each, "MaxConcurrency": 1,
                                  "End": True}})
execution = client.start_execution(stateMachineArn=mapped, input="[1,2,3]")["executionArn"]
for good in [True, False]:
    task = client.get_activity_task(activityArn=activity)
    if good:
        client.send_task_success(taskToken=task["taskToken"], output="10")
    else:
        client.send_task_failure(taskToken=task["taskToken"], error="Broken")
assert waited(execution)["error"] == "States.ExceedToleratedFailureThreshold"
run = client.list_map_runs(executionArn=execution)["mapRuns"][0]["mapRunArn"]
failed = client.list_executions(mapRunArn=run, statusFilter="FAILED")["executions"][0]["executionArn"]
assert client.describe_execution(executionArn=failed)["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
refused(client.exceptions.ExecutionNotRedrivable, client.redrive_execution, executionArn=failed)
client.redrive_execution(executionArn=execution)
for _ in range(2):
    task = client.get_activity_task(activityArn=activity)
    client.send_task_success(taskToken=task["taskToken"], output=str(int(task["input"]) * 10))
assert waited(execution)["output"] == "[10,20,30]"
told = client.describe_map_run(mapRunArn=run)
assert (told["status"], told["redriveCount"], told["itemCounts"]["succeeded"]) == ("SUCCEEDED", 1, 3), told
assert client.describe_execution(executionArn=failed)["redriveCount"] == 1

# One that is stopped says so, and why.
execution = client.start_execution(stateMachineArn=work)["executionArn"]
client.stop_execution(executionArn=execution, error="Enough", cause="for today")
told = waited(execution)
assert (told["status"], told["error"], told["cause"]) == ("ABORTED", "Enough", "for today"), told

# A function hands its token on, and whoever has it answers.
tell = {"FunctionName": "tell", "Payload": {"token.$": "$$.Task.Token"}}
callback = machine("callback", {"A": {
    "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "Parameters": tell, "End": True}})
execution = client.start_execution(stateMachineArn=callback)["executionArn"]
while client.describe_execution(executionArn=execution)["status"] == "RUNNING" and not os.path.exists("told/token"):
    time.sleep(0.02)
with open("told/token") as file:
    token = file.read()
client.send_task_heartbeat(taskToken=token)
client.send_task_success(taskToken=token, output='{"approved": true}')
assert waited(execution)["output"] == '{"approved": true}'
refused(client.exceptions.TaskTimedOut, client.send_task_success, taskToken=token, output="1")

# A worker waits for a minute where there is nothing to do, which is as long as this client waits at all.
if "ITERD_LONG" in os.environ:
    patient = boto3.client("stepfunctions", config=botocore.config.Config(read_timeout=70))
    begun = time.monotonic()
    assert not patient.get_activity_task(activityArn=activity).get("taskToken")
    assert 59 < time.monotonic() - begun < 65
