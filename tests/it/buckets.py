"""Clients of buckets, for one check:

    clients             all that a folder answers for, and how it refuses what it does not have
    reading             makes and runs a machine that reads and writes objects by distributed Maps; prints its ARN
    written ARN         waits for that execution; prints what it wrote, JSON

Where services are, and with what requests are signed, the environment says.
"""

import base64
import io
import json
import os
import sys
import time
import urllib.error
import urllib.request
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

objects = boto3.client("s3")


def refused(call, code, status):
    try:
        call()
    except ClientError as error:
        told = error.response
        assert (told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), told
        return told["Error"].get("Message")
    raise AssertionError(f"not refused with {code}")


def denied(address, status):
    try:
        urllib.request.urlopen(address)
    except urllib.error.HTTPError as error:
        assert error.code == status, (error, error.read())
        return
    raise AssertionError("not refused")


def in_one_chunk(key, body):
    """Sends an object as SDKs send a stream over TLS: one chunk that nobody signed, and its sum behind it."""
    sum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    sent = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(body), body, sum.encode())
    headers = {"x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": "x-amz-checksum-crc32"}
    address = f"{objects.meta.endpoint_url}/pics/{key}"
    request = AWSRequest("PUT", address, headers=headers, data=sent)
    request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
    credentials = boto3.Session().get_credentials()
    S3SigV4Auth(credentials, "s3", objects.meta.region_name).add_auth(request)
    headers = dict(request.headers.items())
    assert headers["X-Amz-Content-SHA256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    return urllib.request.urlopen(urllib.request.Request(address, data=sent, method="PUT", headers=headers))


def clients():
    objects.create_bucket(Bucket="pics")
    put = lambda key, body, **more: objects.put_object(Bucket="pics", Key=key, Body=body, **more)
    get = lambda key, **more: objects.get_object(Bucket="pics", Key=key, **more)
    assert [bucket["Name"] for bucket in objects.list_buckets()["Buckets"]] == ["pics"]
    objects.head_bucket(Bucket="pics")
    assert objects.get_bucket_location(Bucket="pics")["LocationConstraint"] is None

    tag = put("a/b c+ü.txt", b"hello", ContentType="text/plain")["ETag"]
    got = get("a/b c+ü.txt")
    assert (got["Body"].read(), got["ETag"], got["ContentLength"]) == (b"hello", tag, 5)
    assert get("a/b c+ü.txt", Range="bytes=1-2")["Body"].read() == b"el"
    assert get("a/b c+ü.txt", Range="bytes=-2")["Body"].read() == b"lo"
    assert objects.head_object(Bucket="pics", Key="a/b c+ü.txt")["ETag"] == tag
    refused(lambda: get("a/b c+ü.txt", Range="bytes=5-"), "InvalidRange", 416)
    refused(lambda: get("a/b c+ü.txt", IfNoneMatch=tag), "304", 304)
    refused(lambda: get("a/b c+ü.txt", IfMatch='"other"'), "PreconditionFailed", 412)
    put("empty", b"")
    assert get("empty")["Body"].read() == b""

    # In one request, in parts, and as a stream whose sums follow it.
    large = os.urandom(12_000_000)
    put("one", large)
    assert get("one")["Body"].read() == large
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    objects.upload_fileobj(io.BytesIO(large), "pics", "parts", Config=parts)
    back = io.BytesIO()
    objects.download_fileobj("pics", "parts", back, Config=parts)
    assert back.getvalue() == large
    begun = objects.create_multipart_upload(Bucket="pics", Key="k")["UploadId"]
    objects.upload_part(Bucket="pics", Key="k", UploadId=begun, PartNumber=1, Body=b"1")
    assert len(objects.list_parts(Bucket="pics", Key="k", UploadId=begun)["Parts"]) == 1
    uploads = objects.list_multipart_uploads(Bucket="pics")["Uploads"]
    assert [(it["Key"], it["UploadId"]) for it in uploads] == [("k", begun)]
    wrong = {"Parts": [{"PartNumber": 1, "ETag": "other"}]}
    complete = lambda **more: objects.complete_multipart_upload(Bucket="pics", Key="k", UploadId=begun, **more)
    refused(lambda: complete(MultipartUpload=wrong), "InvalidPart", 400)
    refused(lambda: complete(MultipartUpload=wrong, IfNoneMatch="*"), "NotImplemented", 501)
    objects.abort_multipart_upload(Bucket="pics", Key="k", UploadId=begun)
    refused(
        lambda: objects.upload_part(Bucket="pics", Key="k", UploadId=begun, PartNumber=1, Body=b"1"),
        "NoSuchUpload",
        404,
    )
    unsigned = boto3.client("s3", config=Config(s3={"payload_signing_enabled": False}))
    unsigned.put_object(Bucket="pics", Key="unsigned", Body=b"stream")
    assert get("unsigned")["Body"].read() == b"stream"

    whole = os.urandom(20_000_000)
    assert in_one_chunk("chunk", whole).status == 200
    assert get("chunk")["Body"].read() == whole
    objects.delete_object(Bucket="pics", Key="chunk")

    for number in range(25):
        put(f"x/{number:02}/f", b"1")
    listing = objects.get_paginator("list_objects_v2")
    pages = listing.paginate(Bucket="pics", Delimiter="/", PaginationConfig={"PageSize": 1})
    assert [it["Prefix"] for page in pages for it in page.get("CommonPrefixes", [])] == ["a/", "x/"]
    pages = listing.paginate(Bucket="pics", Prefix="x/", PaginationConfig={"PageSize": 7})
    assert len([it for page in pages for it in page["Contents"]]) == 25
    old = objects.get_paginator("list_objects").paginate(Bucket="pics", PaginationConfig={"PageSize": 4})
    keys = [it["Key"] for page in old for it in page["Contents"]]
    assert keys == sorted(keys) and len(keys) == 30, keys

    objects.copy_object(Bucket="pics", Key="copy", CopySource={"Bucket": "pics", "Key": "a/b c+ü.txt"})
    for version in ["s3", "s3v4"]:
        signer = boto3.client("s3", config=Config(signature_version=version))
        address = signer.generate_presigned_url("get_object", Params={"Bucket": "pics", "Key": "copy"})
        assert urllib.request.urlopen(address).read() == b"hello"
        denied(address[:-1] + ("0" if address[-1] != "0" else "1"), 403)

    # A header that nobody signed says nothing.
    signer = boto3.client("s3", config=Config(signature_version="s3v4"))
    address = signer.generate_presigned_url("put_object", Params={"Bucket": "pics", "Key": "mine"})
    address = urllib.request.Request(address, method="PUT", headers={"x-amz-copy-source": "/pics/copy"})
    denied(address, 403)
    # Nor does one that looks like a proof of another kind.
    address.add_header("Authorization", "AWS x")
    denied(address, 400)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    address = f"{objects.meta.endpoint_url}/pics?AWSAccessKeyId=x&Signature=y"
    denied(urllib.request.Request(address, data=b"--x", method="POST", headers=form), 501)

    refused(lambda: objects.delete_object(Bucket="pics", Key="copy", IfMatch="*"), "NotImplemented", 501)
    refused(lambda: objects.delete_object(Bucket="pics", Key="copy", VersionId="1"), "NotImplemented", 501)
    source = {"CopySource": {"Bucket": "pics", "Key": "copy"}}
    copy = lambda **more: objects.copy_object(Bucket="pics", Key="c", **source, **more)
    refused(lambda: copy(CopySourceIfMatch='"other"'), "PreconditionFailed", 412)
    refused(lambda: copy(MetadataDirective="REPLACE", Metadata={"a": "b"}), "NotImplemented", 501)
    refused(lambda: put("one/two", b""), "AccessDenied", 403)
    refused(lambda: put("k" * 256, b""), "KeyTooLongError", 400)

    refused(lambda: get("none"), "NoSuchKey", 404)
    refused(lambda: objects.list_objects_v2(Bucket="nope-nope"), "NoSuchBucket", 404)
    said = refused(lambda: put("m", b"", Metadata={"a": "b"}), "NotImplemented", 501)
    assert "[services.s3] endpoint" in said, said
    refused(lambda: put("../x", b""), "AccessDenied", 403)
    # Once: the client would try a torn body again.
    once = boto3.client("s3", config=Config(retries={"max_attempts": 0}))
    torn = lambda: once.put_object(Bucket="pics", Key="x", Body=b"abc", ChecksumCRC32="AAAAAA==")
    refused(torn, "BadDigest", 400)
    # Sums that follow the body, of each kind.
    secure = boto3.client("s3", config=Config(s3={"payload_signing_enabled": False}))
    for kind in ["CRC32", "SHA1", "SHA256"]:
        secure.put_object(Bucket="pics", Key="summed", Body=io.BytesIO(b"sum"), ChecksumAlgorithm=kind)
        assert get("summed")["Body"].read() == b"sum"
    refused(lambda: get("x"), "NoSuchKey", 404)
    refused(lambda: objects.delete_bucket(Bucket="pics"), "BucketNotEmpty", 409)
    objects.create_bucket(Bucket="pics")
    refused(lambda: objects.get_bucket_acl(Bucket="pics"), "NotImplemented", 501)
    other = boto3.client("s3", aws_access_key_id="nobody", aws_secret_access_key="x")
    refused(lambda: other.get_object(Bucket="pics", Key="copy"), "InvalidAccessKeyId", 403)
    own = os.environ["AWS_ACCESS_KEY_ID"]
    wrong = boto3.client("s3", aws_access_key_id=own, aws_secret_access_key="wrong")
    refused(lambda: wrong.get_object(Bucket="pics", Key="copy"), "SignatureDoesNotMatch", 403)

    all_keys = [it["Key"] for page in listing.paginate(Bucket="pics") for it in page["Contents"]]
    gone = objects.delete_objects(Bucket="pics", Delete={"Objects": [{"Key": key} for key in all_keys]})
    assert len(gone["Deleted"]) == len(all_keys)
    objects.delete_object(Bucket="pics", Key="none")
    objects.delete_bucket(Bucket="pics")
    assert objects.list_buckets()["Buckets"] == []


def reader(key=None):
    if key is None:
        return {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "data", "Prefix": "in/"}}
    return {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
        "Parameters": {"Bucket": "data", "Key": key},
    }


def map_of(item_reader, inner, after):
    return {
        "Type": "Map",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": inner,
            "States": {inner: {"Type": "Pass", "End": True}},
        },
        "MaxConcurrency": 5,
        "ItemReader": item_reader,
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": "data", "Prefix": "out"},
        },
        **after,
    }


def reading():
    objects.create_bucket(Bucket="data")
    if "IS_ELSEWHERE" in os.environ:
        # What a console calls a folder.
        for folder in ["in/", "in/sub/"]:
            objects.put_object(Bucket="data", Key=folder, Body=b"")
    rows = "".join(f"{n},name {n}\n" for n in range(400))
    objects.put_object(Bucket="data", Key="in/rows.csv", Body=("id,name\n" + rows).encode())
    objects.put_object(Bucket="data", Key="in/other name.txt", Body=b"x")
    note = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:putObject",
        "Parameters": {"Bucket": "data", "Key": "note", "Body.$": "$.listed.ResultWriterDetails"},
        "ResultPath": None,
        "End": True,
    }
    definition = {
        "StartAt": "Rows",
        "States": {
            "Rows": map_of(reader("in/rows.csv"), "Row", {"ResultPath": "$.rows", "Next": "Objects"}),
            "Objects": map_of(reader(), "Object", {"ResultPath": "$.listed", "Next": "Note"}),
            "Note": note,
        },
    }
    states = boto3.client("stepfunctions")
    machine = states.create_state_machine(
        name="reading", definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/any"
    )["stateMachineArn"]
    print(states.start_execution(stateMachineArn=machine, input="{}")["executionArn"])


def results(details):
    manifest = json.loads(objects.get_object(**details)["Body"].read())
    files = manifest["ResultFiles"]["SUCCEEDED"]
    read = [json.loads(objects.get_object(Bucket="data", Key=it["Key"])["Body"].read()) for it in files]
    return [json.loads(record["Output"]) for file in read for record in file]


def written(execution):
    states = boto3.client("stepfunctions")
    while (told := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.05)
    assert told["status"] == "SUCCEEDED", told
    output = json.loads(told["output"])
    keys = [item["Key"] for item in results(output["listed"]["ResultWriterDetails"])]
    rows = results(output["rows"]["ResultWriterDetails"])
    note = json.loads(objects.get_object(Bucket="data", Key="note")["Body"].read())
    print(json.dumps([rows, keys, note == output["listed"]["ResultWriterDetails"]]))


check, *rest = sys.argv[1:]
{"clients": clients, "reading": reading, "written": written}[check](*rest)
