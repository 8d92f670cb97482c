"""Bodies in chunks: AWS's published example, trailers, and what is wrong in them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.errors import S3Error
from gateway.manager.http.s3.chunked import MOST_LINE, ChunkedDecoder
from gateway.manager.http.signatures import AccessKey, RequestHead, SignatureError, check_declared, check_head

# "Signature calculations for the authorization header: transferring a payload in multiple chunks", Amazon S3's API.
KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)
SIGNED = ";".join(
    ["content-encoding", "content-length", "host", "x-amz-content-sha256", "x-amz-date"]
    + ["x-amz-decoded-content-length", "x-amz-storage-class"]
)
HEADERS = {
    "Host": "s3.amazonaws.com",
    "x-amz-date": "20130524T000000Z",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY.id}/20130524/us-east-1/s3/aws4_request,SignedHeaders={SIGNED},"
    "Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "Content-Encoding": "aws-chunked",
    "x-amz-decoded-content-length": "66560",
    "Content-Length": "66824",
}
SIZES = (65536, 1024, 0)
SIGNATURES = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
EXAMPLE = b"".join(
    f"{size:x};chunk-signature={signature}\r\n".encode() + b"a" * size + b"\r\n"
    for size, signature in zip(SIZES, SIGNATURES, strict=True)
)


def authorization(**changed):
    head = RequestHead("PUT", "/examplebucket/chunkObject.txt", list((HEADERS | changed).items()))
    return check_head(head, "s3", {KEY.id: KEY}.get, NOW)


def decode(decoder, body, size):
    found = [piece for start in range(0, len(body), size) for piece in decoder.feed(body[start : start + size])]
    decoder.finish()
    return b"".join(found)


@pytest.mark.parametrize("size", [1, 85, 86, 65536, 10**6])
def test_the_example_of_the_documentation(size):
    signed = authorization()
    check_declared(signed)
    assert len(EXAMPLE) == 66824
    assert decode(ChunkedDecoder(True, signed, False), EXAMPLE, size) == b"a" * 66560


def test_another_head_is_not_signed():
    with pytest.raises(SignatureError):
        check_declared(authorization(**{"x-amz-decoded-content-length": "66561"}))


@pytest.mark.parametrize("position", [100, 65_700, len(EXAMPLE) - 20])
def test_a_changed_byte_is_refused(position):
    changed = bytearray(EXAMPLE)
    changed[position] ^= 1
    with pytest.raises(S3Error) as caught:
        decode(ChunkedDecoder(True, authorization(), False), bytes(changed), 4096)
    assert caught.value.code in ("SignatureDoesNotMatch", "InvalidRequest")


def test_a_body_that_is_cut_is_incomplete():
    for end in (10, 1000, 65_622, 65_624, len(EXAMPLE) - 90, len(EXAMPLE) - 2, len(EXAMPLE) - 1):
        with pytest.raises(S3Error) as caught:
            decode(ChunkedDecoder(True, authorization(), False), EXAMPLE[:end], 4096)
        assert caught.value.code == "IncompleteBody"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 60))
def test_unsigned_chunks_and_trailers_in_any_pieces(chunks, size):
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    body += b"0\r\nx-amz-checksum-crc32: AAAAAA==\r\nOther:1\r\n\r\n"
    decoder = ChunkedDecoder(False, None, True)
    assert decode(decoder, body, size) == b"".join(chunks)
    assert decoder.trailers == {"x-amz-checksum-crc32": "AAAAAA==", "other": "1"}


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"\r\n",
        b"5;chunk-signature=" + b"0" * 64 + b"\r\n",
        b"1\r\nabc\r\n",
        b"0\r\n\r\nmore\r\n",
        b"0\r\nno colon\r\n",
        b"0\r\n" + b"".join(b"n%d:1\r\n" % number for number in range(20)),
        b"1" * (MOST_LINE + 1),
        b"11111111111111111\r\n",
    ],
)
def test_what_is_no_body_in_chunks(body):
    with pytest.raises(S3Error) as caught:
        ChunkedDecoder(False, None, True).feed(body)
    assert (caught.value.code, caught.value.status) == ("InvalidRequest", 400)
