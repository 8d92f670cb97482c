"""The vectors of the wire protocol as Python values, and the message that a value of theirs means. No test of its own.

Written from tests/vectors/README.md and the protocol page, not from the codec.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.protocol.messages import (
    LIVENESS,
    NO_URLS,
    Get,
    Heartbeat,
    Hello,
    Layout,
    Metric,
    Model,
    ModelResult,
    ModelSamples,
    Read,
    Result,
)

FOLDER = Path(__file__).parents[1] / "vectors"
STATES = {1: "DEPLOY", 0: "UNDEPLOY"}
STATUSES = {1: "SUCCESS", 0: "FAIL"}

Vector = dict[str, Any]


def load(file: str, *channels: str) -> list[Vector]:
    """The vectors of a file, those of some channels where any are named."""
    vectors: list[Vector] = json.loads((FOLDER / file).read_text("utf-8"))["vectors"]
    return [vector for vector in vectors if not channels or vector["channel"] in channels]


def now(file: str) -> int:
    """The moment of arrival that the file names, in Unix seconds."""
    return int(json.loads((FOLDER / file).read_text("utf-8"))["now"])


def payload(vector: Vector) -> bytes:
    """The bytes on the wire, written out or by their rule."""
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    rule = vector["rule"]
    middle = bytes.fromhex(rule["repeat"]) * int(rule["times"])
    return bytes.fromhex(rule["prefix"]) + middle + bytes.fromhex(rule["suffix"])


def message_of(channel: str, value: list[Any]) -> Hello | Heartbeat | Get | Read:
    """What a positional array of that channel means."""
    readers: dict[str, Callable[[list[Any]], Hello | Heartbeat | Get | Read]]
    readers = {"hello": _hello, "hb": _heartbeat, "get": _get, "read": _read, "live": _live}
    return readers[channel](value)


def _filled(value: list[Any], known: int) -> list[Any]:
    return (list(value) + [None] * known)[:known]


def _hello(value: list[Any]) -> Hello:
    tag, layout, epoch, max_payload, flags = _filled(value, 5)
    return Hello(tag, _layout(layout), epoch, max_payload, (flags or 0) & NO_URLS)


def _layout(value: list[Any]) -> Layout:
    version, metrics, models = value[:3]
    return Layout(
        version, _metrics(metrics), tuple(Model(name, number, _metrics(rows)) for name, number, rows in models)
    )


def _metrics(rows: list[list[Any]]) -> tuple[Metric, ...]:
    return tuple(Metric(*row[:3]) for row in rows)


def _heartbeat(value: list[Any]) -> Heartbeat:
    source, time, values, models, have, result, seq = _filled(value, 7)
    return Heartbeat(
        source=source if isinstance(source, int) else _layout(source),
        time=time,
        values=_row(values),
        models=tuple(None if model is None else _model(model) for model in models or ()),
        have=have,
        result=None if result is None else _result(result),
        seq=seq,
    )


def _row(values: list[Any] | None) -> tuple[Any, ...]:
    return tuple(tuple(samples) if isinstance(samples, list) else samples for samples in values or ())


def _model(value: list[Any]) -> ModelSamples:
    sample_age, inference_age, metrics = _filled(value, 3)
    return ModelSamples(sample_age, inference_age, _row(metrics))


def _result(value: list[Any]) -> Result:
    name, status, message, start, end, models = _filled(value, 6)
    rows = None if models is None else tuple(_model_result(model) for model in models)
    return Result(name, status, message, start, end, rows)


def _model_result(value: list[Any]) -> ModelResult:
    handle, name, version, desired, state, status, reason, rollback = _filled(value, 8)
    words = STATES.get(desired, desired), STATES.get(state, state), STATUSES.get(status, status)
    return ModelResult(handle, name, version, *words, reason, rollback)


def _get(value: list[Any]) -> Get:
    return Get(*_filled(value, 2))


def _live(value: list[Any]) -> Heartbeat:
    state, seconds = _filled(value, 2)
    return Heartbeat(LIVENESS, values=(state, seconds))


def _read(value: list[Any]) -> Read:
    digest, index, offset, length, count = _filled(value, 5)
    return Read(digest, index, offset, length, 1 if count is None else count)
