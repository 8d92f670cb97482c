"""S3's ranges and conditions, as tables."""

import pytest

from gateway.manager.errors import S3Error
from gateway.manager.objects.ranges import Part, choose

ETAG = '"0123"'


@pytest.mark.parametrize(
    ("asked", "start", "end"),
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
def test_a_range_is_a_part(asked, start, end):
    part = choose({"range": asked}, ETAG, 10)
    assert part == Part(start, end, 10, whole=False)
    assert part.status == 206
    assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/10"
    assert part.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize(
    "asked", ["", "bytes=-", "bytes=4-2", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=" + "9" * 5000 + "-"]
)
def test_a_range_that_cannot_be_read_is_none(asked):
    part = choose({"range": asked}, ETAG, 10)
    assert part == Part(0, 10, 10, whole=True)
    assert part.status == 200
    assert "Content-Range" not in part.headers


@pytest.mark.parametrize(
    ("asked", "total"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_outside_of_the_object(asked, total):
    with pytest.raises(S3Error) as caught:
        choose({"range": asked}, ETAG, total)
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
        assert choose({header: value}, ETAG, 10).whole
    else:
        with pytest.raises(S3Error) as caught:
            choose({header: value}, ETAG, 10)
        assert caught.value.status == status
