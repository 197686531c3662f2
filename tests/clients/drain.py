"""Four of the shipped workers drain a Map; two are killed in the middle of an item. argv: the worker, a folder."""

import json
import os
import pathlib
import subprocess
import sys
import time

import boto3

ITEMS = 10_000 if "ITERD_LONG" in os.environ else 300
SLOTS = 3
ROLE = "arn:aws:iam::000000000000:role/any"
HANDLER = r'''
import os, time
NOTES = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
LEFT = int(os.environ.get("HANG_AFTER", 10**9))

def note(word, item):
    os.write(NOTES, f"{word} {item['n']} {os.getpid()}\n".encode())

def double(item):
    global LEFT
    note("begin", item)
    LEFT -= 1
    if LEFT < 0:
        note("hang", item)
        time.sleep(600)
    note("end", item)
    return item["n"] * 2
'''

worker, folder = sys.argv[1], pathlib.Path(sys.argv[2])
notes = folder / "notes"
(folder / "handler.py").write_text(HANDLER)
client = boto3.client("stepfunctions")
activity = client.create_activity(name="double")["activityArn"]
task = {"Type": "Task", "Resource": activity, "TimeoutSeconds": 300, "HeartbeatSeconds": 2, "End": True,
        "Retry": [{"ErrorEquals": ["States.HeartbeatTimeout"], "IntervalSeconds": 1, "MaxAttempts": 5}]}
definition = {"StartAt": "M", "States": {"M": {
    "Type": "Map", "Label": "each", "MaxConcurrency": SLOTS, "End": True,
    "ItemSelector": {"n.$": "$$.Map.Item.Value"},
    "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                      "StartAt": "Double", "States": {"Double": task}}}}}
arn = client.create_state_machine(name="drain", definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"]
execution = client.start_execution(stateMachineArn=arn, input=json.dumps(list(range(ITEMS))))["executionArn"]


def start(**more):
    command = [sys.executable, worker, activity, f"{folder / 'handler.py'}:double", "--idle", "20", "--heartbeat", "0.5"]
    return subprocess.Popen(command, env={**os.environ, "NOTES": str(notes), **more})


def noted(word):
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(f"{word} ")]


hanging = [start(HANG_AFTER=str(ITEMS // 8)) for _ in range(2)]
workers = [start() for _ in range(2)]
try:
    most, run, killed = 0, None, False
    while True:
        told = client.describe_execution(executionArn=execution)
        if told["status"] != "RUNNING":
            break
        if not killed and len(noted("hang")) == 2:
            for process in hanging:
                process.kill()
            killed = True
        if run is None:
            runs = client.list_map_runs(executionArn=execution)["mapRuns"]
            run = runs[0]["mapRunArn"] if runs else None
        else:
            running = client.list_executions(mapRunArn=run, statusFilter="RUNNING")["executions"]
            most = max(most, len(running))
finally:
    for process in hanging + workers:
        process.kill()
        process.wait()

assert told["status"] == "SUCCEEDED", told
assert json.loads(told["output"]) == [n * 2 for n in range(ITEMS)]
assert killed, "two died"
assert most == SLOTS, f"{most} at a time"
begun, ended, hung = noted("begin"), noted("end"), noted("hang")
assert sorted(ended) == list(range(ITEMS)), "each item ends once"
assert sorted(begun) == sorted(list(range(ITEMS)) + hung), "only what a dead worker had is begun again"
counts = client.describe_map_run(mapRunArn=run)
assert counts["itemCounts"]["succeeded"] == counts["executionCounts"]["succeeded"] == ITEMS, counts
