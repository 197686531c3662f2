"""Downloads the resources of a batch, several at once, and stores each as an object.

Answers what became of each: {"path": "a.jpg", "bytes": 20480}, or {"path": "b.jpg", "error": "404"}. A server that is
busy or broken (429, 5xx) is asked again, and if that does not help, the batch fails and is done again later.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import boto3
import urllib3
from botocore.config import Config

AT_ONCE = int(os.environ["AT_ONCE"])
BUCKET = os.environ["BUCKET"]

servers = urllib3.PoolManager(
    maxsize=AT_ONCE,
    timeout=30,
    retries=urllib3.Retry(total=6, backoff_factor=0.1, status_forcelist=[429, 500, 502, 503, 504]),
)
objects = boto3.client("s3", config=Config(max_pool_connections=AT_ONCE))
threads = ThreadPoolExecutor(AT_ONCE)


def main(event, context):
    download = lambda path: one(event["baseUrl"], path)
    return list(threads.map(download, event["resourcePaths"]))


def one(base, path):
    response = servers.request("GET", base.rstrip("/") + "/" + path)
    if response.status != 200:
        return {"path": path, "error": str(response.status)}
    objects.put_object(Bucket=BUCKET, Key=path, Body=response.data)
    return {"path": path, "bytes": len(response.data)}
