"""Signs with botocore what a server was sent, and prints the signature.

Reads JSON: service, region, key, secret, method, url, headers (those that are signed), body.
"""

import json
import sys

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

sent = json.load(sys.stdin)
request = AWSRequest(method=sent["method"], url=sent["url"], headers=sent["headers"], data=sent["body"].encode())
request.context["timestamp"] = sent["headers"]["x-amz-date"]
# As botocore does before it signs: it takes the hash from the header that it made itself.
auth = S3SigV4Auth if sent["service"] == "s3" else SigV4Auth
auth = auth(Credentials(sent["key"], sent["secret"]), sent["service"], sent["region"])
canonical = auth.canonical_request(request)
print(auth.signature(auth.string_to_sign(request, canonical), request))
