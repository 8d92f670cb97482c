"""Signatures made by botocore are taken, and each change of what was signed is found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.manager.errors import API_FAULTS, S3_FAULTS
from gateway.manager.http.signatures import Fault, Keys, Received, SignatureError, verify

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime.now(UTC)


def signed(service: str, target: str, body: bytes = b"", secret: str = KEYS.secret, **headers: str) -> Received:
    """A request as botocore signs it, at about NOW."""
    method = "POST" if service == "sagemaker" else "GET"
    headers = {"Host": "127.0.0.1:9470", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = AWSRequest(method=method, url=f"http://127.0.0.1:9470{target}", data=body, headers=headers)
    signer = SigV4Auth if service == "sagemaker" else S3SigV4Auth
    signer(Credentials(KEYS.access, secret), service, "eu-west-1").add_auth(request)
    return Received(method, target, [(name, value) for name, value in request.headers.items()], body)


def with_header(request: Received, name: str, value: str | None) -> Received:
    rest = [(known, old) for known, old in request.headers if known.lower() != name.lower()]
    return replace(request, headers=rest + ([] if value is None else [(name, value)]))


def fault(request: Received, service: str = "sagemaker", keys: Keys = KEYS, now: datetime = NOW) -> Fault:
    with pytest.raises(SignatureError) as caught:
        verify(request, service, keys, now)
    assert keys.secret not in str(caught.value)
    return caught.value.fault


CALL = signed("sagemaker", "/SendHeartbeat", b'{"a":1}', X_Extra="two  words")
READ = signed("s3", "/models/a%20b/c%2Bd~?partNumber=1&x=%2F", Range="bytes=0-1")


@pytest.mark.parametrize("target", ["/SendHeartbeat", "/a%20b", "/a//b", "/?b=2&a=1"])
def test_a_call_signed_by_botocore_is_taken(target):
    verify(signed("sagemaker", target, b"{}"), "sagemaker", KEYS, datetime.now(UTC))


@pytest.mark.parametrize("target", ["/models/a%20b/c%2Bd~", "/m/a//b", "/m/%C3%A9?x=1&a=%20", "/m/a/../b"])
def test_a_read_signed_by_botocore_is_taken(target):
    verify(signed("s3", target), "s3", KEYS, datetime.now(UTC))


def test_a_session_token_is_only_one_more_signed_header():
    verify(signed("sagemaker", "/x", X_Amz_Security_Token="token"), "sagemaker", KEYS, datetime.now(UTC))


def test_the_names_of_headers_may_come_in_any_case():
    verify(replace(CALL, headers=[(name.upper(), value) for name, value in CALL.headers]), "sagemaker", KEYS, NOW)


@pytest.mark.parametrize(
    "changed",
    [
        replace(CALL, body=b'{"a":2}'),
        replace(CALL, method="PUT"),
        replace(CALL, target="/GetDeployments"),
        replace(CALL, target="/SendHeartbeat?x=1"),
        with_header(CALL, "X-Extra", "other"),
        with_header(CALL, "Host", "elsewhere"),
        signed("sagemaker", "/SendHeartbeat", secret="wrong"),
    ],
    ids=["body", "method", "path", "query", "header", "host", "secret"],
)
def test_a_change_of_what_was_signed_is_a_mismatch(changed):
    assert fault(changed) is Fault.MISMATCH


def test_a_header_that_was_not_signed_may_change():
    verify(with_header(CALL, "User-Agent", "any"), "sagemaker", KEYS, NOW)


def test_another_access_key_is_unknown():
    assert fault(CALL, keys=Keys("OTHER", KEYS.secret)) is Fault.UNKNOWN_KEY


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_far_off(minutes):
    assert fault(CALL, now=NOW + timedelta(minutes=minutes)) is Fault.SKEWED


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_somewhat_off(minutes):
    verify(CALL, "sagemaker", KEYS, NOW + timedelta(minutes=minutes))


def test_a_signature_for_the_other_api_is_none():
    assert fault(CALL, service="s3") is Fault.MALFORMED
    assert fault(READ, service="sagemaker") is Fault.MALFORMED


def test_the_store_needs_the_sum_of_the_body():
    assert fault(with_header(READ, "x-amz-content-sha256", None), service="s3") is Fault.MALFORMED
    assert fault(with_header(READ, "x-amz-content-sha256", "0" * 64), service="s3") is Fault.WRONG_BODY


def test_an_unsigned_payload_is_as_its_header_says():
    unsigned = signed("sagemaker", "/x", b"", X_Amz_Content_SHA256="UNSIGNED-PAYLOAD")
    verify(replace(unsigned, body=b"anything"), "sagemaker", KEYS, datetime.now(UTC))


def authorization(request: Received) -> str:
    return dict(request.headers)["Authorization"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Authorization", None, Fault.MISSING),
        ("Authorization", "", Fault.MALFORMED),
        ("Authorization", "Basic abc", Fault.MALFORMED),
        ("Authorization", authorization(CALL)[:-1], Fault.MALFORMED),
        ("Authorization", authorization(CALL).replace("host;", ""), Fault.MALFORMED),
        ("Authorization", authorization(CALL).replace("host;", "host;not-sent;"), Fault.MALFORMED),
        ("Authorization", authorization(CALL).replace(NOW.strftime("/%Y"), "/1999"), Fault.MALFORMED),
        ("Authorization", authorization(CALL).replace("KIDE", "\u00e9"), Fault.UNKNOWN_KEY),
        ("X-Amz-Date", None, Fault.MALFORMED),
        ("X-Amz-Date", "yesterday", Fault.MALFORMED),
        ("X-Extra", "\udcff", Fault.MALFORMED),
        ("Authorization", authorization(CALL).replace("KIDE", "\udcff"), Fault.MALFORMED),
    ],
)
def test_what_cannot_be_read_says_so(name, value, expected):
    assert fault(with_header(CALL, name, value)) is expected


def test_each_fault_has_its_name_in_both_apis():
    assert set(API_FAULTS) == set(S3_FAULTS) == set(Fault)


def test_the_secret_is_not_shown():
    assert KEYS.secret not in repr(KEYS)
