"""What no device should send, and the code with which each is answered. Bytes, as they would come over the wire."""

import struct
from dataclasses import dataclass
from typing import Any

import msgpack

from tests.support.payloads import EPOCH, LAYOUT, TAG, T

YEAR_2101 = 4_133_980_800
NAN, INFINITY = float("nan"), float("inf")


@dataclass(frozen=True, slots=True)
class Hostile:
    """`seq`: what the ack must echo; None where the payload has none that can be read."""

    name: str
    code: int
    payload: bytes
    channel: str = "hb"
    seq: int | None = None
    detail: str = ""


def array(
    name: str, code: int, *elements: Any, channel: str = "hb", seq: int | None = None, detail: str = ""
) -> Hostile:
    return Hostile(name, code, msgpack.packb(list(elements)), channel, seq, detail)


def value(name: str, number: Any) -> Hostile:
    return array(name, 1, LAYOUT, T, [number])


def layout(name: str, code: int, version: Any, metrics: Any, models: Any = None) -> Hostile:
    return array(name, code, [version, metrics, models], T)


def hello(name: str, code: int, *elements: Any) -> Hostile:
    return array(f"hello: {name}", code, *elements, channel="hello", detail="hello:")


def result(name: str, code: int, *elements: Any) -> Hostile:
    return array(f"result: {name}", code, LAYOUT, T, None, None, None, list(elements))


METRIC = [["sys", "free-heap"]]
HOSTILE = [
    # The form: not one msgpack object
    Hostile("text", 1, b"hello, is there anybody?"),
    Hostile("an empty payload", 1, b""),
    Hostile("0xc1, which msgpack never uses", 1, b"\xc1", detail="not msgpack (FormatError)"),
    Hostile("two objects", 1, msgpack.packb([LAYOUT, T]) * 2),
    Hostile("half an object", 1, msgpack.packb([LAYOUT, T, [1, 2, 3]])[:-1]),
    Hostile("70 kB", 1, msgpack.packb([LAYOUT, T, None, None, None, None, None, bytes(70_000)])),
    Hostile("70 kB of nothing", 1, bytes(70_000)),
    Hostile("a nesting of 10,000 levels", 1, b"\x91" * 10_000 + b"\x01"),
    Hostile("a nesting of 10,000 maps", 1, b"\x81\x01" * 10_000 + b"\x01"),
    Hostile("a nesting of 10,000 levels behind what is known", 1, b"\x98" + b"\xc0" * 7 + b"\x91" * 10_000 + b"\xc0"),
    Hostile("an array that claims four milliards", 1, b"\xdd\xff\xff\xff\xff"),
    Hostile("bytes that claim two milliards", 1, b"\xc6\x7f\xff\xff\xff"),
    Hostile("text that is not UTF-8", 1, b"\x92\x91\xa2\xff\xfe" + msgpack.packb(T)),
    # The form: the right object with the wrong things in it
    array("nothing", 1),
    Hostile("a map", 1, msgpack.packb({"values": [1]})),
    Hostile("a map with one key twice", 1, b"\x82\x01\x02\x01\x03"),
    Hostile("nil", 1, b"\xc0"),
    array("a tag as text", 1, "4711", 89),
    array("a tag below 0", 1, -1, 89),
    array("a tag over 16 bits", 1, 65536, 89),
    array("a tag as a float", 1, 4711.0, 89),
    array("a time below 0", 1, LAYOUT, -1),
    array("a time as a float", 1, LAYOUT, 1.5),
    array("a have below 0", 1, LAYOUT, T, None, None, -1),
    array("a seq as text", 1, LAYOUT, T, None, None, None, None, "7"),
    value("NaN", NAN),
    value("infinity", INFINITY),
    value("minus infinity", -INFINITY),
    Hostile(
        "NaN of 32 bits",
        1,
        msgpack.packb([LAYOUT, T])[:-5].replace(b"\x92", b"\x93", 1)
        + msgpack.packb(T)
        + b"\x91\xca"
        + struct.pack(">f", NAN),
    ),
    value("true", True),
    value("text", "81344"),
    value("bytes", b"81344"),
    value("a map", {}),
    value("an age missing", [1, 2, 3]),
    value("an age below 0", [1, -2]),
    value("an age as a float", [1, 2.0]),
    value("NaN among samples", [1, 0, NAN, 0]),
    value("nil among samples", [None, 0]),
    array("more values than metrics", 1, LAYOUT, T, [1, 2, 3, 4]),
    array("more models than there are", 1, LAYOUT, T, None, [None, None, None]),
    array("more samples of a model than it has metrics", 1, LAYOUT, T, None, [[0, 0, [1, 2, 3]]]),
    array("values that are no array", 1, LAYOUT, T, 7),
    array("a model that is no array", 1, LAYOUT, T, None, [7]),
    layout("a version that is no text", 1, 1, METRIC),
    layout("a version that is nil", 1, None, METRIC),
    layout("an exponent over 30", 1, "1.0.0", [["sys", "free-heap", 31]]),
    layout("an exponent as a float", 1, "1.0.0", [["sys", "free-heap", -1.0]]),
    layout("a metric without a name", 1, "1.0.0", [["sys"]]),
    result("a status of another number", 1, None, None, None, None, None, [[None] * 5 + [2]]),
    result("a name that is a number", 1, 7),
    result("no array", 1, "deploy-7", None, None, None, None, "kws"),
    array("values that are no array, with a seq", 1, LAYOUT, T, 7, None, None, None, 15, seq=15),
    array("a result with a limit broken, with a seq", 4, LAYOUT, T, None, None, None, ["deploy_7"], 16, seq=16),
    array("a name with a limit broken, with a seq", 4, ["1.0", [["s", "cpu"]]], T, *[None] * 4, 17, seq=17),
    # Limits of the service
    layout("a metric of three letters", 4, "1.0.0", [["sys", "cpu"]]),
    layout("a metric with an underscore", 4, "1.0.0", [["sys", "free_heap"]]),
    layout("a metric with a line end", 4, "1.0.0", [["sys", "free-heap\n"]]),
    layout("a metric of 101 letters", 4, "1.0.0", [["sys", "m" * 101]]),
    layout("a dimension that is empty", 4, "1.0.0", [["", "free-heap"]]),
    layout("a dimension with a blank", 4, "1.0.0", [["s y", "free-heap"]]),
    layout("a model of three letters", 4, "1.0.0", None, [["kws", "1"]]),
    layout("a version with a hyphen", 4, "1.0-rc1", METRIC),
    layout("a version of 65 letters", 4, "1" * 65, METRIC),
    result("a deployment with an underscore", 4, "deploy_7"),
    result("a model of three letters", 4, "deploy-7", None, None, None, None, [["kws", "abc"]]),
    array("a value beyond a double", 4, ["1.0.0", [["sys", "free-heap", 30]]], T, [1e300]),
    # Time
    array("after 2100", 4, LAYOUT, YEAR_2101, None, None, None, None, 9, seq=9),
    array("a time of 64 bits", 4, LAYOUT, 2**64 - 1, None, None, None, None, 10, seq=10),
    array("before 1970 by an age", 4, LAYOUT, 10, [[1, 11]], None, None, None, 11, seq=11),
    array("before 1970 by the age of a result", 4, LAYOUT, 10, None, None, None, ["d", None, None, 11], 12, seq=12),
    # Tags and other channels
    array("an unknown tag", 2, TAG + 1, 89, None, None, None, None, 13, seq=13),
    array("read", 5, 1, 0, 0, 64, channel="read"),
    array("a read of nothing", 1, channel="read"),
    array("a get whose have is text", 1, "0", channel="get"),
    array("a get whose have is text, with a seq", 1, "0", 14, channel="get", seq=14),
    Hostile("a get that is not msgpack", 1, b"\xc1", "get"),
    # Hellos
    Hostile("hello: a map", 1, b"\x80", "hello", None, "hello: a map"),
    Hostile("hello: not msgpack", 1, b"\xc1", "hello", None, "hello:"),
    Hostile("hello: NaN", 1, msgpack.packb([TAG, LAYOUT, NAN]), "hello", None, "hello:"),
    Hostile("hello: 70 kB", 1, bytes(70_000), "hello", None, "hello:"),
    hello("a tag over 16 bits", 1, 65536, LAYOUT, EPOCH),
    hello("no layout", 1, TAG, None, EPOCH),
    hello("an epoch below 0", 1, TAG, LAYOUT, -1),
    hello("flags as text", 1, TAG, LAYOUT, EPOCH, None, "1"),
    hello("a metric of three letters", 4, TAG, ["1.0.0", [["sys", "cpu"]]], EPOCH),
    hello("a version with a hyphen", 4, TAG, ["1.0-rc1", METRIC], EPOCH),
]
