"""A client of AWS's, for one call: SERVICE METHOD PARAMETERS, the last as JSON.

Prints what is answered as JSON, or the refusal: its class, code, message and HTTP status. Where services
are, and with what requests are signed, the environment says.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

service, method, parameters = sys.argv[1:]
client = boto3.client(service, config=Config(retries={"total_max_attempts": 1}))
try:
    answer = getattr(client, method)(**json.loads(parameters))
    answer.pop("ResponseMetadata")
    print(json.dumps(answer, default=str))
except ClientError as error:
    told = error.response["Error"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    print(json.dumps([type(error).__name__, told["Code"], told["Message"], status]))
