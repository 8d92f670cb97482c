"""S3's ranges and conditions."""

from email.utils import formatdate

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


DAY = 86_400
MODIFIED = 1_780_000_000.75
DATES = {"before": MODIFIED - DAY, "then": MODIFIED, "after": MODIFIED + DAY}


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"if-modified-since": "before"}, 200),
        ({"if-modified-since": "then"}, 304),
        ({"if-modified-since": "after"}, 304),
        ({"if-unmodified-since": "before"}, 412),
        ({"if-unmodified-since": "then"}, 200),
        ({"if-unmodified-since": "after"}, 200),
        ({"if-match": ETAG, "if-unmodified-since": "before"}, 200),
        ({"if-match": '"9"', "if-unmodified-since": "after"}, 412),
        ({"if-none-match": ETAG, "if-modified-since": "before"}, 304),
        ({"if-none-match": '"9"', "if-modified-since": "after"}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-unmodified-since": "yesterday"}, 200),
    ],
)
def test_conditions_on_the_time_and_their_order(conditions, status):
    headers = {
        name: formatdate(DATES[value], usegmt=True) if value in DATES else value for name, value in conditions.items()
    }
    if status == 200:
        assert select_range(headers, ETAG, 10, MODIFIED).whole
    else:
        with pytest.raises(S3Error) as caught:
            select_range(headers, ETAG, 10, MODIFIED)
        assert caught.value.status == status


@pytest.mark.parametrize(
    ("condition", "is_part"),
    [
        (ETAG, True),
        ('"9"', False),
        ("W/" + ETAG, False),
        ("then", True),
        ("before", False),
        ("after", False),
        ("", True),
    ],
)
def test_if_range(condition, is_part):
    condition = formatdate(DATES[condition], usegmt=True) if condition in DATES else condition
    selected = select_range({"range": "bytes=2-4", "if-range": condition}, ETAG, 10, MODIFIED)
    assert (selected.start, selected.end, selected.status) == ((2, 5, 206) if is_part else (0, 10, 200))


@pytest.mark.parametrize(
    ("number", "parts", "found"),
    [("1", (), (0, 10)), ("1", (4, 6), (0, 4)), ("2", (4, 6), (4, 10))],
)
def test_the_number_of_a_part(number, parts, found):
    selected = select_range({}, ETAG, 10, MODIFIED, number, parts)
    assert (selected.start, selected.end, selected.status, selected.parts) == (*found, 206, len(parts))


@pytest.mark.parametrize(
    ("number", "headers", "code"),
    [
        ("3", {}, "InvalidPartNumber"),
        ("0", {}, "InvalidArgument"),
        ("x", {}, "InvalidArgument"),
        ("10001", {}, "InvalidArgument"),
        ("1", {"range": "bytes=0-1"}, "InvalidRequest"),
    ],
)
def test_a_part_that_is_not_there(number, headers, code):
    with pytest.raises(S3Error) as caught:
        select_range(headers, ETAG, 10, MODIFIED, number, (4, 6))
    assert caught.value.code == code
