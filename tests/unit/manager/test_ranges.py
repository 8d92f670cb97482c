"""S3's ranges and conditions."""

import pytest

from gateway.manager.errors import S3Error
from gateway.manager.http.ranges import ByteRange, select_range

ETAG = '"0123"'


@pytest.mark.parametrize(
    ("requested", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-4", 2, 5),
        ("bytes=5-", 5, 10),
        ("bytes=9-9", 9, 10),
        ("bytes=0-10", 0, 10),
        ("bytes=7-999999", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-10", 0, 10),
        ("bytes=-11", 0, 10),
    ],
)
def test_a_range(requested, start, end):
    selected = select_range({"range": requested}, ETAG, 10)
    assert selected == ByteRange(start, end, 10, whole=False)
    assert selected.status == 206
    assert selected.headers["Content-Range"] == f"bytes {start}-{end - 1}/10"
    assert selected.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize(
    "requested", ["", "bytes=-", "bytes=4-2", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=" + "9" * 5000 + "-"]
)
def test_a_range_that_is_not_understood_is_ignored(requested):
    selected = select_range({"range": requested}, ETAG, 10)
    assert selected == ByteRange(0, 10, 10, whole=True)
    assert selected.status == 200
    assert "Content-Range" not in selected.headers


@pytest.mark.parametrize(
    ("requested", "total"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_outside_of_the_object(requested, total):
    with pytest.raises(S3Error) as caught:
        select_range({"range": requested}, ETAG, total)
    assert (caught.value.code, caught.value.status) == ("InvalidRange", 416)
    assert caught.value.headers["Content-Range"] == f"bytes */{total}"


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("if-match", '"0123"', 200),
        ("if-match", "0123", 200),
        ("if-match", "*", 200),
        ("if-match", '"9"', 412),
        ("if-none-match", '"9"', 200),
        ("if-none-match", '"9", "0123"', 304),
        ("if-none-match", "*", 304),
    ],
)
def test_conditions(header, value, status):
    if status == 200:
        assert select_range({header: value}, ETAG, 10).whole
    else:
        with pytest.raises(S3Error) as caught:
            select_range({header: value}, ETAG, 10)
        assert caught.value.status == status
