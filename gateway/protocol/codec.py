"""Payload bytes <-> nouns, by the protocol page, under limits of size and depth.

The one place where msgpack is used. Decoding raises DecodeError (the form) or LimitError (a limit of the service) and
nothing else, whatever the bytes; it never allocates more than a small multiple of their length.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgpack

from gateway.errors import DecodeError, MessageError
from gateway.protocol import fields
from gateway.protocol.messages import (
    NO_URLS,
    Ack,
    Get,
    Heartbeat,
    Hello,
    Layout,
    Metric,
    Model,
    ModelFile,
    ModelResult,
    ModelSamples,
    Plan,
    Read,
    Result,
    Samples,
)
from gateway.protocol.service_calls import Definition, Deployment

STATES = {1: "DEPLOY", 0: "UNDEPLOY"}
STATUSES = {1: "SUCCESS", 0: "FAIL"}
POLICIES = {"ROLLBACK_ON_FAILURE": 0, "DO_NOTHING": 1}
STATE_NUMBERS = {word: number for number, word in STATES.items()}
LARGEST_EXPONENT = 30
SHORT = 512
"""Bytes of a payload whose claims of length are not worth a pass of their own."""
LARGEST_PACKET = 268_435_455
"""Bytes of the largest packet of MQTT: a larger max_payload means no more."""


def hello(payload: bytes) -> Hello | None:
    """The layout, epoch and limits of a device; None for the empty payload, which says that there is none."""
    if not payload:
        return None
    tag, layout, epoch, max_payload, flags = fields.array(_unpack(payload), 5, "hello")
    return Hello(
        tag=fields.tag(tag),
        layout=_layout(layout),
        epoch=fields.optional_uint(epoch, "epoch"),
        max_payload=None if max_payload is None else min(fields.uint(max_payload, "max_payload"), LARGEST_PACKET),
        flags=(fields.optional_uint(flags, "flags") or 0) & NO_URLS,
    )


def heartbeat(payload: bytes) -> Heartbeat:
    """A heartbeat, its samples still as they travelled: only its layout can say what they mean.

    What it raises has the seq, where the payload is an array that holds one: whoever repeats it must learn its end.
    """
    elements = fields.array(_unpack(payload), 7, "heartbeat")
    try:
        return _heartbeat(*elements)
    except MessageError as error:
        error.seq = fields.uint_or_none(elements[6])
        raise


def _heartbeat(source: Any, time: Any, values: Any, models: Any, have: Any, result: Any, seq: Any) -> Heartbeat:
    return Heartbeat(
        source=fields.tag(source) if type(source) is int else _layout(source),
        time=fields.optional_uint(time, "time"),
        values=_all_samples(values, "values"),
        models=tuple([_model_samples(model) for model in fields.optional_array(models, "models")]),
        have=fields.optional_uint(have, "have"),
        result=None if result is None else _result(result),
        seq=fields.optional_uint(seq, "seq"),
    )


def get(payload: bytes) -> Get:
    """A deployment request; the empty payload means [0]."""
    if not payload:
        return Get()
    have, seq = fields.array(_unpack(payload), 2, "get")
    try:
        return Get(fields.optional_uint(have, "have"), fields.optional_uint(seq, "seq"))
    except MessageError as error:
        error.seq = fields.uint_or_none(seq)
        raise


def seq(payload: bytes, position: int) -> int | None:
    """The seq at `position` of a payload that is refused unread; None where there is none. Raises nothing."""
    try:
        elements = _unpack(payload)
    except DecodeError:
        return None
    return fields.uint_or_none(elements[position]) if type(elements) is tuple and len(elements) > position else None


def read(payload: bytes) -> Read:
    """A request for blocks of a model file."""
    *needed, count = fields.array(_unpack(payload), 5, "read")
    digest, index, offset, length = map(fields.uint, needed, ("digest", "index", "offset", "length"))
    return Read(digest, index, offset, length, 1 if count is None else fields.uint(count, "count"))


def ack(message: Ack, max_payload: int | None = None) -> bytes:
    """A receipt or an error. Where the device's `max_payload` is short, the detail is cut, then left out."""
    head = [message.seq, int(message.code), message.time]
    bare: bytes = msgpack.packb(head)
    if message.detail is None:
        return bare
    room = 120 if max_payload is None else min(120, max_payload - len(bare) - 2)
    detail = message.detail.encode(errors="replace")[: max(room, 0)].decode(errors="ignore")
    return msgpack.packb([*head, detail]) if detail else bare


def plan(deployments: tuple[Deployment, ...], sizes: Mapping[str, int] = {}) -> Plan:
    """The plan of a device: its digest, and its payload with and without S3 URLs.

    `sizes`: bytes of the model files that are known, by URL. They are in the payloads, and not in the digest.
    """
    digest = _digest(msgpack.packb([_deployment(each, {}, urls=True) for each in deployments]))
    full, bare = ([_deployment(each, sizes, urls) for each in deployments] for urls in (True, False))
    files = [_file(definition) for each in deployments for definition in each.definitions or ()]
    return Plan(digest, msgpack.packb([digest, full]), msgpack.packb([digest, bare]), tuple(files))


def model_files(deployments: tuple[Deployment, ...]) -> list[ModelFile]:
    """The files that the deployments' definitions name."""
    files = [_file(definition) for each in deployments for definition in each.definitions or ()]
    return [file for file in files if file is not None]


def block(digest: int, index: int, offset: int, total: int, data: bytes) -> bytes:
    """A block of a model file of `total` bytes."""
    packed: bytes = msgpack.packb([digest, index, offset, total, data])
    return packed


def _file(definition: Definition) -> ModelFile | None:
    if definition.state != "DEPLOY" or definition.url is None or definition.checksum is None:
        return None
    return ModelFile(definition.url, definition.checksum.lower(), definition.checksum_type or "SHA1")


def _digest(canonical: bytes) -> int:
    """The first 4 bytes of the SHA-256, cut to 30 bits; never 0, which means that there is no plan."""
    return int.from_bytes(hashlib.sha256(canonical).digest()[:4], "big") & 0x3FFFFFFF or 1


def _deployment(deployment: Deployment, sizes: Mapping[str, int], urls: bool) -> list[Any]:
    definitions = deployment.definitions
    return _trimmed(
        deployment.name,
        POLICIES.get(deployment.policy, deployment.policy) if deployment.policy is not None else None,
        None if definitions is None else [_definition(definition, sizes, urls) for definition in definitions],
        None if deployment.type == "Model" else deployment.type,
    )


def _definition(definition: Definition, sizes: Mapping[str, int], urls: bool) -> list[Any]:
    return _trimmed(
        definition.handle,
        STATE_NUMBERS.get(definition.state, definition.state) if definition.state is not None else None,
        _checksum(definition.checksum),
        sizes.get(definition.url or ""),
        definition.url if urls else None,
        None if definition.checksum_type == "SHA1" else definition.checksum_type,
    )


def _checksum(text: str | None) -> bytes | str | None:
    if text is not None and len(text) == 40 and all(digit in "0123456789abcdefABCDEF" for digit in text):
        return bytes.fromhex(text)
    return text


def _trimmed(*elements: Any) -> list[Any]:
    """A positional array without its trailing nils."""
    shown = list(elements)
    while shown and shown[-1] is None:
        shown.pop()
    return shown


def _unpack(payload: bytes) -> Any:
    """Exactly one object.

    A first pass skips over a long one and builds nothing, so that claims of length are proven first. What a short one
    can claim is small: each array at most as many elements as the payload has bytes.
    """
    try:
        if len(payload) > SHORT:
            scout = msgpack.Unpacker(max_buffer_size=len(payload))
            scout.feed(payload)
            scout.skip()
        return msgpack.unpackb(payload, use_list=False, strict_map_key=False, object_pairs_hook=fields.ForbiddenMap)
    except msgpack.ExtraData:
        raise DecodeError("more than one msgpack object") from None
    except msgpack.OutOfData:
        raise DecodeError("the payload ends within an object") from None
    except msgpack.StackError:
        raise DecodeError("nested too deeply") from None
    except UnicodeDecodeError:
        raise DecodeError("a str that is not UTF-8") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise DecodeError(f"not msgpack ({str(error) or type(error).__name__})"[:120]) from None


def _layout(value: Any) -> Layout:
    version, metrics, models = fields.array(value, 3, "layout")
    return Layout(
        fields.text(version, "agent_version"),
        _metrics(metrics, "metrics"),
        tuple([_model(model) for model in fields.optional_array(models, "models")]),
    )


def _metrics(value: Any, what: str) -> tuple[Metric, ...]:
    return tuple([_metric(metric) for metric in fields.optional_array(value, what)])


def _metric(value: Any) -> Metric:
    dimension, name, exponent = fields.array(value, 3, "metric")
    if exponent is not None and (type(exponent) is not int or abs(exponent) > LARGEST_EXPONENT):
        raise fields.wrong(exponent, "exponent", f"an int from -{LARGEST_EXPONENT} to {LARGEST_EXPONENT}")
    return Metric(fields.text(dimension, "dimension"), fields.text(name, "metric name"), exponent)


def _model(value: Any) -> Model:
    name, version, metrics = fields.array(value, 3, "model")
    return Model(
        fields.text(name, "model name"), fields.text(version, "model version"), _metrics(metrics, "model metrics")
    )


def _model_samples(value: Any) -> ModelSamples | None:
    if value is None:
        return None
    sample_age, inference_age, metrics = fields.array(value, 3, "model")
    return ModelSamples(
        fields.optional_uint(sample_age, "sample_age"),
        fields.optional_uint(inference_age, "inference_age"),
        _all_samples(metrics, "model samples"),
    )


def _all_samples(value: Any, what: str) -> tuple[Samples, ...]:
    row = fields.optional_array(value, what)
    for samples in row:
        if type(samples) is tuple:
            fields.check_series(samples)
        elif samples is not None:
            fields.check_number(samples)
    return row


def _result(value: Any) -> Result:
    deployment, status, message, start_age, end_age, models = fields.array(value, 6, "result")
    return Result(
        fields.optional_text(deployment, "result's deployment"),
        fields.optional_text(status, "result's status"),
        fields.optional_text(message, "result's message"),
        fields.optional_uint(start_age, "start_age"),
        fields.optional_uint(end_age, "end_age"),
        None
        if models is None
        else tuple([_model_result(model) for model in fields.optional_array(models, "result's models")]),
    )


def _model_result(value: Any) -> ModelResult:
    handle, name, version, desired, state, status, reason, rollback = fields.array(value, 8, "result's model")
    return ModelResult(
        fields.optional_text(handle, "handle"),
        fields.optional_text(name, "name"),
        fields.optional_text(version, "version"),
        fields.word(desired, STATES, "desired"),
        fields.word(state, STATES, "state"),
        fields.word(status, STATUSES, "status"),
        fields.optional_text(reason, "reason"),
        fields.optional_text(rollback, "rollback_reason"),
    )
