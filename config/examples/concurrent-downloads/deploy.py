"""Makes bucket, table, topic and machine, where they are missing, and updates the machine. Prints its ARN."""

from pathlib import Path

import boto3

objects = boto3.client("s3")
if "downloads" not in [bucket["Name"] for bucket in objects.list_buckets()["Buckets"]]:
    objects.create_bucket(Bucket="downloads")

tables = boto3.client("dynamodb")
if "downloads" not in tables.list_tables()["TableNames"]:
    tables.create_table(
        TableName="downloads",
        KeySchema=[{"AttributeName": "path", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "path", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

topic = boto3.client("sns").create_topic(Name="failed-downloads")["TopicArn"]

definition = (Path(__file__).parent / "machine.asl.json").read_text()
definition = definition.replace("arn:aws:sns:us-east-1:000000000000:failed-downloads", topic)
name = "concurrent-downloads"

states = boto3.client("stepfunctions")
known = {it["name"]: it["stateMachineArn"] for it in states.list_state_machines()["stateMachines"]}
if name in known:
    states.update_state_machine(stateMachineArn=known[name], definition=definition)
    print(known[name])
else:
    role = "arn:aws:iam::000000000000:role/any"
    print(states.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"])
