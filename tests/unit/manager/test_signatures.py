"""Signatures made by botocore are accepted, and each change of what was signed is detected."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.manager.http import AccessKey
from gateway.manager.http.responses import API_FAULTS, S3_FAULTS, signature_s3_error
from gateway.manager.http.signatures import (
    RequestHead,
    SignatureError,
    SignatureFault,
    check_body,
    check_head,
)
from tests.support.signed_request import SignedRequest, verify

KEY = AccessKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
KEYS = {KEY.id: KEY}.get
NOW = datetime.now(UTC)


def signed(service: str, target: str, body: bytes = b"", secret: str = KEY.secret, **headers: str) -> SignedRequest:
    """A request as botocore signs it, at about NOW."""
    method = "POST" if service == "sagemaker" else "GET"
    headers = {"Host": "127.0.0.1:9470", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = AWSRequest(method=method, url=f"http://127.0.0.1:9470{target}", data=body, headers=headers)
    signer = SigV4Auth if service == "sagemaker" else S3SigV4Auth
    signer(Credentials(KEY.id, secret), service, "eu-west-1").add_auth(request)
    return SignedRequest(method, target, [(name, value) for name, value in request.headers.items()], body)


def with_header(request: SignedRequest, name: str, value: str | None) -> SignedRequest:
    rest = [(known, old) for known, old in request.headers if known.lower() != name.lower()]
    return replace(request, headers=rest + ([] if value is None else [(name, value)]))


def fault(
    request: SignedRequest, service: str = "sagemaker", key: AccessKey = KEY, now: datetime = NOW
) -> SignatureFault:
    with pytest.raises(SignatureError) as caught:
        verify(request, service, key, now)
    assert key.secret not in str(caught.value)
    return caught.value.fault


CALL = signed("sagemaker", "/SendHeartbeat", b'{"a":1}', X_Extra="two  words")
READ = signed("s3", "/models/a%20b/c%2Bd~?partNumber=1&x=%2F", Range="bytes=0-1")


@pytest.mark.parametrize("target", ["/SendHeartbeat", "/a%20b", "/a//b", "/?b=2&a=1"])
def test_a_call_signed_by_botocore_is_accepted(target):
    verify(signed("sagemaker", target, b"{}"), "sagemaker", KEY, datetime.now(UTC))


@pytest.mark.parametrize("target", ["/models/a%20b/c%2Bd~", "/m/a//b", "/m/%C3%A9?x=1&a=%20", "/m/a/../b"])
def test_a_read_signed_by_botocore_is_accepted(target):
    verify(signed("s3", target), "s3", KEY, datetime.now(UTC))


def test_a_session_token_is_only_one_more_signed_header():
    verify(signed("sagemaker", "/x", X_Amz_Security_Token="token"), "sagemaker", KEY, datetime.now(UTC))


def test_the_case_of_header_names_does_not_matter():
    verify(replace(CALL, headers=[(name.upper(), value) for name, value in CALL.headers]), "sagemaker", KEY, NOW)


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
    assert fault(changed) is SignatureFault.MISMATCH


def test_a_header_that_was_not_signed_may_change():
    verify(with_header(CALL, "User-Agent", "any"), "sagemaker", KEY, NOW)


def test_another_access_key_is_unknown():
    assert fault(CALL, key=AccessKey("OTHER", KEY.secret)) is SignatureFault.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("minutes", "text", "limit"),
    [(-16, "not yet current: {} is still later than", 15), (16, "expired: {} is now earlier than", -15)],
)
def test_a_clock_far_off(minutes, text, limit):
    """SDKs look for these words, and for the times."""
    now = NOW + timedelta(minutes=minutes)
    with pytest.raises(SignatureError) as caught:
        verify(CALL, "sagemaker", KEY, now)
    assert caught.value.fault is SignatureFault.SKEWED
    end, here = (f"{each:%Y%m%dT%H%M%SZ}" for each in (now + timedelta(minutes=limit), now))
    words, sign = text.format(dict(CALL.headers)["X-Amz-Date"]), "+" if limit > 0 else "-"
    expected = f"Signature {words} {end} ({here} {sign} 15 min.)"
    assert caught.value.detail == expected


def test_a_clock_far_off_in_the_words_of_s3():
    with pytest.raises(SignatureError) as caught:
        verify(READ, "s3", KEY, NOW + timedelta(hours=1))
    error = signature_s3_error(caught.value)
    assert (error.code, error.status) == ("RequestTimeTooSkewed", 403)
    assert set(error.details) == {"RequestTime", "ServerTime", "MaxAllowedSkewMilliseconds"}


def test_an_asymmetric_signature_is_refused_with_what_is_right():
    other = authorization(CALL).replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
    with pytest.raises(SignatureError, match="Please use AWS4-HMAC-SHA256") as caught:
        verify(with_header(CALL, "Authorization", other), "sagemaker", KEY, NOW)
    assert caught.value.fault is SignatureFault.MALFORMED


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_somewhat_off(minutes):
    verify(CALL, "sagemaker", KEY, NOW + timedelta(minutes=minutes))


def test_a_signature_for_the_other_api_is_malformed():
    assert fault(CALL, service="s3") is SignatureFault.MALFORMED
    assert fault(READ, service="sagemaker") is SignatureFault.MALFORMED


def test_the_model_store_requires_the_hash_of_the_body():
    assert fault(with_header(READ, "x-amz-content-sha256", None), service="s3") is SignatureFault.MALFORMED
    assert fault(with_header(READ, "x-amz-content-sha256", "0" * 64), service="s3") is SignatureFault.WRONG_BODY


def test_an_unsigned_payload_is_not_compared():
    unsigned = signed("sagemaker", "/x", b"", X_Amz_Content_SHA256="UNSIGNED-PAYLOAD")
    verify(replace(unsigned, body=b"anything"), "sagemaker", KEY, datetime.now(UTC))


def authorization(request: SignedRequest) -> str:
    return dict(request.headers)["Authorization"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Authorization", None, SignatureFault.MISSING),
        ("Authorization", "", SignatureFault.MALFORMED),
        ("Authorization", "Basic abc", SignatureFault.MALFORMED),
        ("Authorization", authorization(CALL)[:-1], SignatureFault.MALFORMED),
        ("Authorization", authorization(CALL).replace("host;", ""), SignatureFault.MALFORMED),
        ("Authorization", authorization(CALL).replace("host;", "host;not-sent;"), SignatureFault.MALFORMED),
        ("Authorization", authorization(CALL).replace(NOW.strftime("/%Y"), "/1999"), SignatureFault.MALFORMED),
        ("Authorization", authorization(CALL).replace("KIDE", "\u00e9"), SignatureFault.UNKNOWN_KEY),
        ("X-Amz-Date", None, SignatureFault.MALFORMED),
        ("X-Amz-Date", "yesterday", SignatureFault.MALFORMED),
        ("X-Extra", "\udcff", SignatureFault.MALFORMED),
        ("Authorization", authorization(CALL).replace("KIDE", "\udcff"), SignatureFault.MALFORMED),
    ],
)
def test_what_is_malformed(name, value, expected):
    assert fault(with_header(CALL, name, value)) is expected


@pytest.mark.parametrize("name", ["Authorization", "X-Amz-Date"])
def test_a_header_of_the_signature_is_sent_once(name):
    twice = [*CALL.headers, (name, dict(CALL.headers)[name])]
    assert fault(replace(CALL, headers=twice)) is SignatureFault.MALFORMED


def test_what_the_head_shows_is_known_before_the_body():
    head = RequestHead(CALL.method, CALL.target, CALL.headers)
    check_body(check_head(head, "sagemaker", KEYS, NOW), CALL.body)
    with pytest.raises(SignatureError):
        check_head(head, "sagemaker", {"OTHER": KEY}.get, NOW)
    with pytest.raises(SignatureError) as caught:
        check_body(check_head(head, "sagemaker", KEYS, NOW), b"other")
    assert caught.value.fault is SignatureFault.MISMATCH


def test_an_error_does_not_grow_with_the_head():
    many = authorization(CALL).replace(
        "SignedHeaders=", "SignedHeaders=" + ";".join(f"x-{n}" for n in range(1000)) + ";"
    )
    with pytest.raises(SignatureError) as caught:
        verify(with_header(CALL, "Authorization", many), "sagemaker", KEY, NOW)
    assert len(caught.value.detail) < 300


def test_each_fault_has_a_name_in_both_apis():
    assert set(API_FAULTS) == set(S3_FAULTS) == set(SignatureFault)


def test_the_secret_is_not_shown():
    authorization = check_head(CALL, "sagemaker", KEYS, NOW)
    assert KEY.secret not in repr(KEY)
    assert repr(authorization.key) not in repr(authorization)
