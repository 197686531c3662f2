"""State machines with boto3, as a user of AWS writes it: make, update, list, tag, publish, delete."""

import datetime
import json

import boto3

ROLE = "arn:aws:iam::000000000000:role/any"


def definition(comment):
    return json.dumps({"Comment": comment, "StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})


def refused(error, call, **arguments):
    try:
        call(**arguments)
    except error as refusal:
        return refusal.response["Error"]["Message"]
    raise AssertionError(f"{call.__name__} was to be refused")


client = boto3.client("stepfunctions")

# A machine has a date, and another definition makes another revision of it.
made = client.create_state_machine(name="pay", definition=definition("first"), roleArn=ROLE)
arn = made["stateMachineArn"]
age = datetime.datetime.now(datetime.timezone.utc) - made["creationDate"]
assert abs(age) < datetime.timedelta(minutes=1), age
assert "revisionId" not in client.describe_state_machine(stateMachineArn=arn)
updated = client.update_state_machine(stateMachineArn=arn, definition=definition("second"), publish=True)
told = client.describe_state_machine(stateMachineArn=arn)
assert told["definition"] == definition("second"), told
assert told["revisionId"] == updated["revisionId"], told
assert updated["stateMachineVersionArn"] == f"{arn}:1", updated

# Lists come in order, whatever the size of a page.
names = sorted([f"m-{n}" for n in range(11)] + ["pay"])
for name in names:
    if name != "pay":
        client.create_state_machine(name=name, definition=definition(name), roleArn=ROLE, type="EXPRESS")
pages = list(client.get_paginator("list_state_machines").paginate(PaginationConfig={"PageSize": 5}))
assert [len(page["stateMachines"]) for page in pages] == [5, 5, 2], pages
assert [machine["name"] for page in pages for machine in page["stateMachines"]] == names, pages
token = pages[0]["nextToken"]
refused(client.exceptions.InvalidToken, client.list_activities, nextToken=token)

# Tags are put, changed and taken away.
client.tag_resource(resourceArn=arn, tags=[{"key": "team", "value": "blue"}, {"key": "cost", "value": "1"}])
client.tag_resource(resourceArn=arn, tags=[{"key": "team", "value": "red"}])
client.untag_resource(resourceArn=arn, tagKeys=["cost", "unknown"])
assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "team", "value": "red"}]
many = [{"key": str(n), "value": ""} for n in range(50)]
refused(client.exceptions.TooManyTags, client.tag_resource, resourceArn=arn, tags=many)

# An alias leads to versions.
route = [{"stateMachineVersionArn": f"{arn}:1", "weight": 100}]
alias = client.create_state_machine_alias(name="live", routingConfiguration=route)["stateMachineAliasArn"]
assert client.describe_state_machine_alias(stateMachineAliasArn=alias)["routingConfiguration"] == route
listed = client.list_state_machine_aliases(stateMachineArn=f"{arn}:1")["stateMachineAliases"]
assert [item["stateMachineAliasArn"] for item in listed] == [alias], listed
refused(client.exceptions.ConflictException, client.delete_state_machine_version, stateMachineVersionArn=f"{arn}:1")

# Definitions are judged without a machine.
judged = client.validate_state_machine_definition(definition='{"StartAt": "A"}')
assert judged["result"] == "FAIL" and judged["diagnostics"][0]["severity"] == "ERROR", judged
assert client.validate_state_machine_definition(definition=definition("good"))["result"] == "OK"

# Activities.
activity = client.create_activity(name="ask")["activityArn"]
assert client.describe_activity(activityArn=activity)["name"] == "ask"
client.delete_activity(activityArn=activity)
refused(client.exceptions.ActivityDoesNotExist, client.describe_activity, activityArn=activity)

client.delete_state_machine(stateMachineArn=arn)
message = refused(client.exceptions.StateMachineDoesNotExist, client.describe_state_machine, stateMachineArn=arn)
assert message == f"State Machine Does Not Exist: '{arn}'", message
