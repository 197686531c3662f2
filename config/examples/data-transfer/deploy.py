"""Makes the table, the messages in it, the queue and the machine, where they are not there. Prints the machine's ARN."""

import json
from pathlib import Path
from string import Template

import boto3

here = Path(__file__).parent
table = "transfer-messages"

tables = boto3.resource("dynamodb")
if table not in [known.name for known in tables.tables.all()]:
    tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "MessageId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "MessageId", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    ).wait_until_exists()
with tables.Table(table).batch_writer() as batch:
    for name, text in json.loads((here / "messages.json").read_text()).items():
        batch.put_item(Item={"MessageId": name, "Message": text})

queue = boto3.client("sqs").create_queue(QueueName="transfer-queue")["QueueUrl"]

states = boto3.client("stepfunctions")
definition = Template((here / "machine.asl.json").read_text()).safe_substitute(queueUrl=queue)
name = "data-transfer"
known = {it["name"]: it["stateMachineArn"] for it in states.list_state_machines()["stateMachines"]}
if name in known:
    states.update_state_machine(stateMachineArn=known[name], definition=definition)
    print(known[name])
else:
    role = "arn:aws:iam::000000000000:role/any"
    print(states.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"])
