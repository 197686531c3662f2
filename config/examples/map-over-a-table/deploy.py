"""Makes the table, puts the items of items.json into it, and makes or updates the machine. Prints its ARN."""

import json
from pathlib import Path
from string import Template

import boto3

here = Path(__file__).parent
config = json.loads((here / "config.json").read_text())
table = config["tableName"]

tables = boto3.resource("dynamodb")
if table not in [known.name for known in tables.tables.all()]:
    tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    ).wait_until_exists()
with tables.Table(table).batch_writer() as batch:
    for item in json.loads((here / "items.json").read_text()):
        batch.put_item(Item=item)

states = boto3.client("stepfunctions")
definition = Template((here / "machine.asl.json").read_text()).safe_substitute(config)
name = "map-over-a-table"
known = {it["name"]: it["stateMachineArn"] for it in states.list_state_machines()["stateMachines"]}
if name in known:
    states.update_state_machine(stateMachineArn=known[name], definition=definition)
    print(known[name])
else:
    role = "arn:aws:iam::000000000000:role/any"
    print(states.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"])
