"""moto's server on a free port of this machine, with one bucket; ends with standard input.

Prints its port. The account is MOTO_ACCOUNT_ID.
"""

import sys

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
place = f"http://{host}:{port}"
s3 = boto3.client(
    "s3", endpoint_url=place, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
)
s3.create_bucket(Bucket="the-bucket")
print(port, flush=True)
sys.stdin.read()
server.stop()
