"""Divides a list of resources into as many batches as are downloaded at a time."""


def main(event, context):
    paths, at_a_time = event["resourcePaths"], event["lambdaConcur"]
    size = max(1, -(-len(paths) // at_a_time))
    return [paths[start : start + size] for start in range(0, len(paths), size)]
