"""Which operation a request is: each of S3's own is itself, or is refused as not implemented."""

import re

import botocore.session
import pytest

from gateway.manager.errors import S3Error
from gateway.manager.http.s3.targets import ACTIONS, SUBRESOURCES, is_s3_post, parse_target

S3 = botocore.session.Session().get_service_model("s3")
VALUES = {"list-type": "2", "select-type": "2"}
COPIES = {"CopyObject", "UploadPartCopy"}
ELSEWHERE = {"WriteGetObjectResponse", "ListDirectoryBuckets"}
"""Of another service, and ListBuckets of another one."""


def request_of(name):
    """Method, target and headers, with all that the model puts into the query without being asked."""
    http = S3.operation_model(name).http
    path, _, query = http["requestUri"].partition("?")
    path = path.replace("{Bucket}", "models").replace("{Key+}", "a/key")
    if path == "/" and "Bucket" in S3.operation_model(name).input_shape.members:
        path = "/models"
    pairs = [pair if "=" in pair else f"{pair}=" for pair in query.split("&") if pair]
    pairs = [re.sub("=$", f"={VALUES.get(pair.partition('=')[0], '')}", pair) for pair in pairs]
    shape = S3.operation_model(name).input_shape
    for member, each in shape.members.items() if shape is not None else ():
        if each.serialization.get("location") == "querystring" and member in shape.required_members:
            pairs.append(f"{each.serialization['name']}=1")
    headers = {"x-amz-copy-source": "models/b"} if name in COPIES else {}
    return http["method"], path + ("?" + "&".join(pairs) if pairs else ""), headers


@pytest.mark.parametrize("name", sorted(set(S3.operation_names) - ELSEWHERE))
def test_each_operation_of_s3_is_itself_or_not_implemented(name):
    method, target, headers = request_of(name)
    if name in ACTIONS:
        assert parse_target(method, target, headers).operation == name
        assert method != "POST" or is_s3_post(target)
        return
    with pytest.raises(S3Error) as caught:
        parse_target(method, target, headers)
    assert (caught.value.code, caught.value.status) == ("NotImplemented", 501)


def test_all_subresources_of_s3_are_known():
    named = {
        pair.partition("=")[0]
        for name in S3.operation_names
        for pair in S3.operation_model(name).http["requestUri"].partition("?")[2].split("&")
    }
    assert named - {"", "list-type", "select-type"} <= SUBRESOURCES


@pytest.mark.parametrize("subresource", sorted(SUBRESOURCES))
def test_no_subresource_is_the_object_itself(subresource):
    found = {parsed(method, f"/models/key?{subresource}") for method in ("GET", "HEAD", "PUT", "DELETE")}
    assert found <= {404, 405, 501, "ListParts", "AbortMultipartUpload"}


def parsed(method, target):
    """The operation, or the status that refuses it."""
    try:
        return parse_target(method, target, {}).operation
    except S3Error as error:
        return error.status


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("PATCH", "/models/x", "MethodNotAllowed"),
        ("POST", "/models/x", "MethodNotAllowed"),
        ("PUT", "/", "MethodNotAllowed"),
        ("GET", "/models/x?versionId=1", "NoSuchVersion"),
        ("HEAD", "/models/x?versionId=1", "NoSuchVersion"),
        ("GET", "/models/x?versionId=", "InvalidArgument"),
        ("GET", "/models/x?acl&tagging", "NotImplemented"),
        ("PUT", "/models/x?uploadId=1", "NotImplemented"),
        ("GET", "/models?list-type=3", "InvalidArgument"),
        ("GET", "/models/%ff", "NoSuchKey"),
    ],
)
def test_what_is_refused(method, target, code):
    with pytest.raises(S3Error) as caught:
        parse_target(method, target, {})
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("method", "target", "operation", "bucket", "key"),
    [
        ("GET", "/models/a%2Fb%20c?x-id=GetObject", "GetObject", "models", "a/b c"),
        ("GET", "/models/x?versionId=null", "GetObject", "models", "x"),
        ("GET", "/models/x?partNumber=1", "GetObject", "models", "x"),
        ("GET", "/models/?prefix=acl", "ListObjects", "models", ""),
    ],
)
def test_what_means_no_other_operation(method, target, operation, bucket, key):
    found = parse_target(method, target, {})
    assert (found.operation, found.bucket, found.key) == (operation, bucket, key)


@pytest.mark.parametrize("target", ["/SendHeartbeat", "/", "/GetDeployments?", "/SendHeartbeat?x=uploads"])
def test_a_call_of_another_api_is_none_of_s3(target):
    assert not is_s3_post(target)
