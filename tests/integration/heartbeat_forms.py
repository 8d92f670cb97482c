"""Each form that a heartbeat may have, and the SendHeartbeat that it must become: boto3's arguments, written by hand.

A row holds what the protocol page says of one element. It must never be computed by the code under test.
"""

import struct
from dataclasses import dataclass
from typing import Any

import msgpack

from tests.support.payloads import EPOCH, HELLO, KEYWORDS, LAYOUT, TAG, T


@dataclass(frozen=True, slots=True)
class Form:
    """`hello` None: none is sent. `heartbeat`: an array, or bytes that no ordinary packer makes.

    `expected`: the arguments but for the names. Times below 0 are relative to the arrival: -1 is its moment, -4 is 3 s
    before it.
    """

    name: str
    heartbeat: list[Any] | bytes
    expected: dict[str, Any]
    hello: list[Any] | bytes | None = None


def sample(name: str, value: float, time: int, dimension: str = "sys") -> dict[str, Any]:
    return {"Dimension": dimension, "MetricName": name, "Value": value, "Timestamp": time}


def call(metrics: list[Any] | None = None, models: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """AgentVersion and what is there; what is not there is absent."""
    lists = {"AgentMetrics": metrics, "Models": models}
    return {"AgentVersion": "1.0.0"} | {name: value for name, value in lists.items() if value} | more


def by_tag(name: str, heartbeat: list[Any] | bytes, expected: dict[str, Any]) -> Form:
    return Form(name, heartbeat, expected, HELLO)


def keywords(**more: Any) -> dict[str, Any]:
    return {"ModelName": "keyword-spotting", "ModelVersion": "1.0", **more}


def anomaly(**more: Any) -> dict[str, Any]:
    return {"ModelName": "anomaly", "ModelVersion": "2.1", **more}


def exponents(rows: list[tuple[float, int | None, float]]) -> Form:
    """A layout with one metric for each (number, exponent, value)."""
    metrics = [["sys", f"metric-{index}", exponent] for index, (_, exponent, _) in enumerate(rows)]
    numbers = [number for number, _, _ in rows]
    values = [sample(f"metric-{index}", value, T) for index, (_, _, value) in enumerate(rows)]
    return Form("exponents", [["1.0.0", metrics], T, numbers], call(values))


def widths() -> Form:
    """One number in every width that msgpack has for an int, and both floats; the array, the tag and the time in wide
    forms too."""
    ints = [
        *(b"\x05", b"\xcc\x05", b"\xcd\x00\x05", b"\xce\x00\x00\x00\x05", b"\xcf" + struct.pack(">Q", 5)),
        *(b"\xd0\x05", b"\xd1\x00\x05", b"\xd2\x00\x00\x00\x05", b"\xd3" + struct.pack(">q", 5)),
        *(b"\xff", b"\xd0\xff", b"\xd1\xff\xff", b"\xd2\xff\xff\xff\xff", b"\xd3" + struct.pack(">q", -1)),
        *(b"\xca" + struct.pack(">f", 1.5), b"\xcb" + struct.pack(">d", 0.1)),
    ]
    numbers = [5] * 9 + [-1] * 5 + [1.5, 0.1]
    metrics = [["sys", f"width-{index:02}"] for index in range(len(ints))]
    payload = (
        b"\xdd\x00\x00\x00\x03"  # array 32 of 3
        + msgpack.packb(["1.0.0", metrics])
        + b"\xcf"
        + struct.pack(">Q", T)
        + b"\xdc"
        + struct.pack(">H", len(ints))
        + b"".join(ints)
    )
    return Form("widths", payload, call([sample(f"width-{i:02}", n, T) for i, n in enumerate(numbers)]))


WIDE_TAG = b"\x93\xce" + struct.pack(">I", TAG) + b"\xd1\x00\x59" + b"\xdc\x00\x01\xd3" + struct.pack(">q", 81344)
WIDE_TEXT = (
    b"\x93\x92"
    + (b"\xda\x00\x05" + b"1.0.0")  # str 16
    + (b"\x91\x92" + b"\xdb\x00\x00\x00\x03" + b"sys" + b"\xd9\x09" + b"free-heap")  # str 32, str 8
    + msgpack.packb(T)
    + b"\x91\x07"
)
MILLISECONDS = [sample("latency-ms", 12, T), sample("confidence", 0.5, T)]

FORMS = [
    by_tag("only the tag", [TAG, 89], call()),
    by_tag("nothing but the tag: the moment of arrival, and nothing to date", [TAG], call()),
    by_tag(
        "the page's example",
        [TAG, 89, [81344, -61, 365], [[4, 2, [12, 50]]], 735928559],
        call(
            [sample("free-heap", 81344, T), sample("rssi", -61, T), sample("temperature", 36.5, T)],
            [keywords(LatestSampleTime=T - 4, LatestInference=T - 2, ModelMetrics=MILLISECONDS)],
        ),
    ),
    by_tag("values that end early", [TAG, 89, [81344]], call([sample("free-heap", 81344, T)])),
    by_tag("nil values", [TAG, 89, [None, -61, None]], call([sample("rssi", -61, T)])),
    by_tag("values nil", [TAG, 89, None, [[4]]], call(models=[keywords(LatestSampleTime=T - 4)])),
    by_tag("no values in the array", [TAG, 89, []], call()),
    by_tag("time nil: the moment of arrival", [TAG, None, [7]], call([sample("free-heap", 7, -1)])),
    by_tag("time 0", [TAG, 0, [7]], call([sample("free-heap", 7, EPOCH)])),
    by_tag(
        "several samples with ages",
        [TAG, 89, [[10, 60, 11, 30, 12, 0], None, [365, 1]]],
        call(
            [
                *(sample("free-heap", 10, T - 60), sample("free-heap", 11, T - 30), sample("free-heap", 12, T)),
                sample("temperature", 36.5, T - 1),
            ]
        ),
    ),
    by_tag("several samples, and there are none", [TAG, 89, [[]]], call()),
    by_tag("ages before the moment of arrival", [TAG, None, [[1, 3]]], call([sample("free-heap", 1, -4)])),
    by_tag("floats", [TAG, 89, [0.1, -2.5]], call([sample("free-heap", 0.1, T), sample("rssi", -2.5, T)])),
    by_tag(
        "a model nil in the middle",
        [TAG, 89, None, [None, [None, 2, [5]]]],
        call(models=[anomaly(LatestInference=T - 2, ModelMetrics=[sample("score", 5, T)])]),
    ),
    by_tag("ages nil", [TAG, 89, None, [[None, None, [12]]]], call(models=[keywords(ModelMetrics=MILLISECONDS[:1])])),
    by_tag("a model of which nothing is said but that it is there", [TAG, 89, None, [[]]], call(models=[keywords()])),
    by_tag("an age of 0", [TAG, 89, None, [[0, 0]]], call(models=[keywords(LatestSampleTime=T, LatestInference=T)])),
    by_tag(
        "both models, samples with ages in one",
        [TAG, 89, None, [[1, 0, [None, [99, 2, 98, 0]]], [3, None]]],
        call(
            models=[
                keywords(
                    LatestSampleTime=T - 1,
                    LatestInference=T,
                    ModelMetrics=[sample("confidence", 0.99, T - 2), sample("confidence", 0.98, T)],
                ),
                anomaly(LatestSampleTime=T - 3),
            ]
        ),
    ),
    by_tag("models without one", [TAG, 89, None, []], call()),
    by_tag(
        "unknown trailing elements, everywhere",
        [TAG, 89, [7], [[4, 2, [12], "new", {}]], None, None, None, {"a": [1]}, b"x", 0.5],
        call(
            [sample("free-heap", 7, T)],
            [keywords(LatestSampleTime=T - 4, LatestInference=T - 2, ModelMetrics=MILLISECONDS[:1])],
        ),
    ),
    Form(
        "unknown trailing elements of a hello",
        [TAG, 89, [7], [[4]]],
        call([sample("free-heap", 7, T)], [keywords(LatestSampleTime=T - 4)]),
        [TAG, ["1.0.0", [["sys", "free-heap", None, 9]], [[*KEYWORDS, "new"]], None], EPOCH, None, 0, "new", {}],
    ),
    Form("a layout in place of the tag", [LAYOUT, T, [81344]], call([sample("free-heap", 81344, T)])),
    Form("a layout, time nil", [LAYOUT, None, [81344]], call([sample("free-heap", 81344, -1)])),
    Form(
        "a layout without models",
        [["1.0.0", [["sys/a-b", "free-heap"]]], T, [1]],
        call([sample("free-heap", 1, T, "sys/a-b")]),
    ),
    Form("a layout of a version alone", [["1.0.0"], T], call()),
    Form(
        "a layout whose metrics are nil",
        [["1.0.0", None, [["anomaly", "2.1"]]], T, None, [[1]]],
        call(models=[anomaly(LatestSampleTime=T - 1)]),
    ),
    Form("a hello without an epoch", [TAG, 89, [7]], call([sample("free-heap", 7, -1)]), [TAG, LAYOUT]),
    Form("a hello whose epoch is nil", [TAG, 89, [7]], call([sample("free-heap", 7, -1)]), [TAG, LAYOUT, None, 1024]),
    Form("the tag 0", [0, 89, [7]], call([sample("free-heap", 7, T)]), [0, LAYOUT, EPOCH]),
    Form("the tag 65535", [65535, 89, [7]], call([sample("free-heap", 7, T)]), [65535, LAYOUT, EPOCH]),
    exponents(
        [
            *((3, -1, 0.3), (365, -1, 36.5), (-61, 0, -61.0), (2, 3, 2000.0), (5, None, 5), (1, 30, 1e30)),
            *((1, -30, 1e-30), (7, -2, 0.07), (123456789, -9, 0.123456789), (0, -5, 0.0), (1.5, 1, 15.0)),
        ]
    ),
    widths(),
    by_tag("a wide tag, time, array and value", WIDE_TAG, call([sample("free-heap", 81344, T)])),
    Form("text in every width", WIDE_TEXT, call([sample("free-heap", 7, T)])),
]
