"""Divides what became of the resources into those that are there and those that are not."""


def main(event, context):
    failed = [resource for resource in event if "error" in resource]
    return {"succeeded": [resource for resource in event if "error" not in resource], "failed": failed}
