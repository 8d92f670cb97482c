"""The direct transport sends what boto3 would: the same bytes, and a signature that botocore's own signer makes too."""

import json
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud import json_body, serializer
from gateway.cloud.sigv4 import AwsCredentials, Signer
from gateway.protocol.messages import Device, Metric, ModelResult
from gateway.protocol.service_calls import (
    Call,
    DatedResult,
    GetDeployments,
    GetDeviceRegistration,
    ModelReport,
    SendHeartbeat,
)

NAMES = st.from_regex(r"[a-zA-Z0-9]{4,20}", fullmatch=True)
VERSIONS = st.from_regex(r"[a-zA-Z0-9 _.]{1,20}", fullmatch=True)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SECONDS = st.integers(0, 4_102_444_800)
SAMPLES = st.lists(st.tuples(st.builds(Metric, NAMES, NAMES), NUMBERS, SECONDS), max_size=4).map(tuple)
MODELS = st.builds(ModelReport, NAMES, VERSIONS, st.none() | SECONDS, st.none() | SECONDS, SAMPLES)
TEXTS = st.none() | st.text()
RESULTS = st.builds(
    DatedResult,
    st.none() | NAMES,
    st.none() | NAMES,
    TEXTS,
    st.none() | SECONDS,
    st.none() | SECONDS,
    st.none()
    | st.lists(st.builds(ModelResult, *[st.none() | NAMES] * 6, TEXTS, TEXTS), min_size=1, max_size=2).map(tuple),
)
DEVICES = st.builds(Device, NAMES, NAMES)
HEARTBEATS = st.builds(
    SendHeartbeat,
    DEVICES,
    VERSIONS,
    SAMPLES,
    st.lists(MODELS, max_size=2).map(tuple),
    st.none() | RESULTS,
)
CALLS = HEARTBEATS | st.builds(GetDeployments, DEVICES, st.booleans()) | st.builds(GetDeviceRegistration, DEVICES)


@pytest.fixture(scope="module")
def client() -> Any:
    return boto3.client("sagemaker-edge", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


class Sent(Exception):
    """Raised in place of sending."""


@given(call=CALLS)
def test_the_body_is_boto3s_to_the_byte(client: Any, call: Call) -> None:
    operation = type(call).__name__
    requests: list[Any] = []

    def keep(request: Any, **_: Any) -> None:
        requests.append(request)
        raise Sent

    client.meta.events.register(f"before-send.sagemaker-edge.{operation}", keep)
    try:
        with pytest.raises(Sent):
            getattr(client, xform_name(operation))(**serializer.to_request(call))
    finally:
        client.meta.events.unregister(f"before-send.sagemaker-edge.{operation}", keep)
    assert json_body.encode(call) == requests[0].body
    assert requests[0].url.endswith(f"/{operation}")


@given(
    content=st.binary(max_size=200),
    second=st.integers(0, 4_000_000_000),
    token=st.none() | NAMES,
    secret=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1),
)
def test_the_signature_is_botocores(content: bytes, second: int, token: str | None, secret: str) -> None:
    signer = Signer("eu-west-1", "sagemaker", "edge.example:8443")
    lines = signer.headers(AwsCredentials("AKID", secret, token), "/SendHeartbeat", content, second + 0.5)
    headers = dict(line.split(": ", 1) for line in lines.split("\r\n")[:-1])
    request = AWSRequest("POST", "https://edge.example:8443/SendHeartbeat", data=content)
    request.headers["Content-Type"] = "application/json"
    request.headers["X-Amz-Date"] = request.context["timestamp"] = headers["X-Amz-Date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    botocore = SigV4Auth(BotoCredentials("AKID", secret, token), "sagemaker", "eu-west-1")
    canonical = botocore.canonical_request(request)
    signature = botocore.signature(botocore.string_to_sign(request, canonical), request)
    assert headers["Authorization"].rpartition("Signature=")[2] == signature
    assert headers["Authorization"].startswith(f"AWS4-HMAC-SHA256 Credential=AKID/{headers['X-Amz-Date'][:8]}/")


def test_a_signer_follows_the_clock_and_the_credentials() -> None:
    signer = Signer("eu-west-1", "sagemaker", "h")
    first, second = AwsCredentials("A", "one"), AwsCredentials("B", "two")
    moments = [(first, 86_399.0), (first, 86_400.0), (second, 86_400.0), (first, 86_399.0)]
    answers = [signer.headers(who, "/x", b"", now) for who, now in moments]
    assert answers == [Signer("eu-west-1", "sagemaker", "h").headers(who, "/x", b"", now) for who, now in moments]
    assert len(set(answers)) == 3


def test_numbers_travel_as_json() -> None:
    call = SendHeartbeat(Device("f", "d"), "1", ((Metric("sys", "rssi", -1), 0.3, 5),), (), None)
    assert json.loads(json_body.encode(call))["AgentMetrics"][0]["Value"] == 0.3
