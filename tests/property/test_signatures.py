"""The manager's signatures are botocore's, whatever the request; and each change of the body is detected.

botocore's own signers sign here what the request has: they take the headers that they are given, and leave none out.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.http import AccessKey
from gateway.manager.http.signatures import SignatureError, SignatureFault
from tests.support.signed_request import SignedRequest, verify

TIMESTAMP = "20260131T235959Z"
NOW = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
HASH = "X-Amz-Content-SHA256"

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(" \t"), max_size=20)
# Of a path and a query: what may be there, percent encoding, what should have been encoded, dots and slashes.
PIECES = st.sampled_from(
    ["a", "Z", "9", "-._~", "%20", "%2F", "%c3%a9", "%", "+", "=", "&", "/", "//", ".", "..", "\u00e9"]
)
PATHS = st.lists(PIECES, max_size=8).map(lambda pieces: "/" + "".join(pieces))
QUERIES = st.none() | st.lists(PIECES | st.sampled_from("?&&&"), max_size=8).map("".join)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["X-Extra", "x-extra", "Range", "X_a.b", "Content-Type"]), TEXT), max_size=5
)


class _ExactHeaders:
    """botocore leaves some headers out, which another SDK may have signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


class _ApiSigner(_ExactHeaders, SigV4Auth):
    pass


class _S3Signer(_ExactHeaders, S3SigV4Auth):
    pass


def authorization(request: SignedRequest, names: set[str], service: str, region: str, key: AccessKey) -> str:
    """The value of the header that botocore's signer makes, where `names` (in lower case) are signed."""
    rebuilt = AWSRequest(method=request.method, url=f"http://manager{request.target}", data=request.body)
    for name, value in request.headers:
        if name.lower() in names:
            rebuilt.headers.add_header(name.lower(), value)
    rebuilt.context["timestamp"] = TIMESTAMP
    signer = (_S3Signer if service == "s3" else _ApiSigner)(Credentials(key.id, key.secret), service, region)
    signature = signer.signature(signer.string_to_sign(rebuilt, signer.canonical_request(rebuilt)), rebuilt)
    return (
        f"AWS4-HMAC-SHA256 Credential={key.id}/{signer.credential_scope(rebuilt)}, "
        f"SignedHeaders={';'.join(sorted(names))}, Signature={signature}"
    )


@st.composite
def signed_requests(draw: st.DrawFn) -> tuple[SignedRequest, str, AccessKey]:
    """A request that botocore signed, the service that it is for, and the key."""
    service = draw(st.sampled_from(["sagemaker", "s3"]))
    key = AccessKey(draw(NAMES), draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)))
    body, query = draw(st.binary(max_size=20)), draw(QUERIES)
    headers = [("Host", draw(TEXT)), ("X-Amz-Date", TIMESTAMP), *draw(HEADERS)]
    optional = draw(st.sets(st.sampled_from([name.lower() for name, _ in headers])))
    hashes = [hashlib.sha256(body).hexdigest(), "UNSIGNED-PAYLOAD"]
    sent = draw(st.sampled_from(hashes if service == "s3" else [*hashes, None]))
    if sent is not None:
        headers.append((HASH, sent))
        optional |= draw(st.sampled_from([{HASH.lower()}, set()]))
    request = SignedRequest(
        draw(st.sampled_from(["POST", "GET", "HEAD", "put", "M-SEARCH"])),
        draw(PATHS) + ("" if query is None else f"?{query}"),
        draw(st.permutations(headers)),
        body,
    )
    value = authorization(request, {"host", "x-amz-date"} | optional, service, draw(NAMES), key)
    return replace(request, headers=[*request.headers, ("Authorization", value)]), service, key


@given(signed_requests())
def test_what_botocore_signs_is_accepted(signed: tuple[SignedRequest, str, AccessKey]) -> None:
    verify(*signed, NOW)


@given(signed_requests(), st.binary(max_size=20))
def test_another_body_is_detected_unless_it_was_not_signed(
    signed: tuple[SignedRequest, str, AccessKey], body: bytes
) -> None:
    request, service, key = signed
    sent = {name.lower(): value for name, value in request.headers}
    names = sent["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    unsigned = sent.get(HASH.lower()) == "UNSIGNED-PAYLOAD" and HASH.lower() in names
    if body == request.body or unsigned:
        verify(replace(request, body=body), service, key, NOW)
        return
    with pytest.raises(SignatureError) as caught:
        verify(replace(request, body=body), service, key, NOW)
    assert caught.value.fault in (SignatureFault.WRONG_BODY, SignatureFault.MISMATCH)


@given(signed_requests(), st.data())
def test_a_change_of_the_head_is_detected(signed: tuple[SignedRequest, str, AccessKey], data: st.DataObject) -> None:
    request, service, key = signed
    path, _, query = request.target.partition("?")
    changed = data.draw(
        st.sampled_from(
            [
                replace(request, method=request.method + "X"),
                replace(request, target=f"{path}b?{query}"),
                replace(request, target=f"{path}?{query}&b"),
                replace(request, headers=[("Host", "b"), *request.headers]),
                replace(request, headers=[("X-Amz-Date", TIMESTAMP), *request.headers]),
            ]
        )
    )
    with pytest.raises(SignatureError):
        verify(changed, service, key, NOW)
