"""Makes queue and activity, and makes or updates the machine. Prints its ARN."""

from pathlib import Path

import boto3

definition = (Path(__file__).parent / "machine.asl.json").read_text()
name = "reminder"

states = boto3.client("stepfunctions")
states.create_activity(name="send-email")
boto3.client("sqs").create_queue(QueueName="short-messages")
known = {it["name"]: it["stateMachineArn"] for it in states.list_state_machines()["stateMachines"]}
if name in known:
    states.update_state_machine(stateMachineArn=known[name], definition=definition)
    print(known[name])
else:
    role = "arn:aws:iam::000000000000:role/any"
    print(states.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"])
