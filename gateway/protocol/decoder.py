"""Payload bytes -> messages of devices. Raises DecodeError (form) or LimitError (a limit of the service) and nothing
else, whatever the bytes; never allocates more than a small multiple of their length. Must never use a topic.
"""

from collections.abc import Callable
from typing import Any

import msgpack

from gateway.errors import DecodeError, LimitError, MessageError
from gateway.protocol import fields, messages
from gateway.protocol.messages import NO_URLS, STATES, STATUSES, Samples

MAX_EXPONENT = 30
MAX_MODELS = 1_000
"""Of a heartbeat, and of its result."""
SHORT = 512
"""Bytes of a payload whose claims of length are not worth a pass of their own."""
MAX_MQTT_PACKET = 268_435_455
"""Bytes of the largest packet of MQTT: a larger max_payload means no more."""


def decode_hello(payload: bytes) -> messages.Hello | None:
    """The layout, epoch and limits of a device; None for the empty payload, which says that there is none."""
    if not payload:
        return None
    tag, layout, epoch, max_payload, flags = fields.array(unpack(payload), 5, "hello")
    return messages.Hello(
        tag=fields.tag(tag),
        layout=_layout(layout),
        epoch=fields.optional_uint(epoch, "epoch"),
        max_payload=None if max_payload is None else min(fields.uint(max_payload, "max_payload"), MAX_MQTT_PACKET),
        flags=(fields.optional_uint(flags, "flags") or 0) & NO_URLS,
    )


def decode_heartbeat(payload: bytes) -> messages.Heartbeat:
    """A heartbeat with its samples as they travelled: only its layout says what they mean.

    The error that it raises has the seq, where the payload is an array that holds one.
    """
    source, time, values, models, have, result, seq = fields.array(unpack(payload), 7, "heartbeat")
    try:
        return messages.Heartbeat(
            fields.tag(source) if type(source) is int else _layout(source),
            fields.optional_uint(time, "time"),
            _sample_row(values, "values"),
            tuple([None if model is None else _model_samples(model) for model in _few(models, "models")]),
            None if have is None else fields.uint(have, "have"),
            None if result is None else _result(result),
            None if seq is None else fields.uint(seq, "seq"),
        )
    except MessageError as error:
        error.seq = fields.uint_or_none(seq)
        raise


def decode_get(payload: bytes) -> messages.Get:
    """A deployment request; the empty payload means [0]."""
    if not payload:
        return messages.Get()
    have, seq = fields.array(unpack(payload), 2, "get")
    try:
        return messages.Get(fields.optional_uint(have, "have"), fields.optional_uint(seq, "seq"))
    except MessageError as error:
        error.seq = fields.uint_or_none(seq)
        raise


def decode_read(payload: bytes) -> messages.Read:
    *needed, count = fields.array(unpack(payload), 5, "read")
    digest, index, offset, length = map(fields.uint, needed, ("digest", "index", "offset", "length"))
    return messages.Read(digest, index, offset, length, 1 if count is None else fields.uint(count, "count"))


def decode_live(payload: bytes) -> messages.Heartbeat | None:
    """A heartbeat with the layout LIVENESS, dated by its arrival; None for the empty payload, which says nothing."""
    if not payload:
        return None
    state, seconds = fields.array(unpack(payload), 2, "live")
    values = fields.uint(state, "state"), fields.optional_uint(seconds, "seconds")
    return messages.Heartbeat(messages.LIVENESS, values=values)


DECODERS: dict[str, Callable[[bytes], messages.DeviceMessage | None]] = {
    "hello": decode_hello,
    "hb": decode_heartbeat,
    "get": decode_get,
    "read": decode_read,
    "live": decode_live,
}
"""By the channel, as the protocol page names it."""


def peek_seq(payload: bytes, position: int) -> int | None:
    """The seq at `position` of a payload that is rejected undecoded; None where there is none. Raises nothing."""
    try:
        elements = unpack(payload)
    except DecodeError:
        return None
    return fields.uint_or_none(elements[position]) if type(elements) is tuple and len(elements) > position else None


def unpack(payload: bytes) -> Any:
    """Exactly one object, its arrays as tuples. Raises DecodeError.

    A first pass skips over a long one and builds nothing, so that claims of length are proven first. What a short one
    can claim is small: each array at most as many elements as the payload has bytes.
    """
    try:
        if len(payload) > SHORT:
            skipper = msgpack.Unpacker(max_buffer_size=len(payload))
            skipper.feed(payload)
            skipper.skip()
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


def _layout(value: Any) -> messages.Layout:
    version, metrics, models = fields.array(value, 3, "layout")
    return messages.Layout(
        fields.text(version, "agent_version"),
        _metrics(metrics, "metrics"),
        tuple(map(_model, fields.optional_array(models, "models"))),
    )


def _metrics(value: Any, what: str) -> tuple[messages.Metric, ...]:
    return tuple(map(_metric, fields.optional_array(value, what)))


def _metric(value: Any) -> messages.Metric:
    dimension, name, exponent = fields.array(value, 3, "metric")
    if exponent is not None and (type(exponent) is not int or abs(exponent) > MAX_EXPONENT):
        raise fields.type_error(exponent, "exponent", f"an int from -{MAX_EXPONENT} to {MAX_EXPONENT}")
    return messages.Metric(fields.text(dimension, "dimension"), fields.text(name, "metric name"), exponent)


def _model(value: Any) -> messages.Model:
    name, version, metrics = fields.array(value, 3, "model")
    names = fields.text(name, "model name"), fields.text(version, "model version")
    return messages.Model(*names, _metrics(metrics, "model metrics"))


def _model_samples(value: Any) -> messages.ModelSamples:
    sample_age, inference_age, metrics = fields.array(value, 3, "model")
    return messages.ModelSamples(
        fields.optional_uint(sample_age, "sample_age"),
        fields.optional_uint(inference_age, "inference_age"),
        _sample_row(metrics, "model samples"),
    )


def _few(value: Any, what: str) -> tuple[Any, ...]:
    """An array of models: one of a byte each would take a quarter of a second for a payload of 64 KiB."""
    models: tuple[Any, ...] = value if type(value) is tuple else fields.optional_array(value, what)
    if len(models) > MAX_MODELS:
        raise LimitError(f"{what}: {len(models)}, at most {MAX_MODELS}")
    return models


def _sample_row(value: Any, what: str) -> tuple[Samples, ...]:
    row: tuple[Samples, ...] = value if type(value) is tuple else fields.optional_array(value, what)
    for samples in row:
        if type(samples) is int or samples is None:
            continue
        if type(samples) is tuple:
            fields.check_series(samples)
        else:
            fields.check_number(samples)
    return row


def _result(value: Any) -> messages.Result:
    deployment, status, message, start_age, end_age, models = fields.array(value, 6, "result")
    return messages.Result(
        fields.optional_text(deployment, "result's deployment"),
        fields.optional_text(status, "result's status"),
        fields.optional_text(message, "result's message"),
        fields.optional_uint(start_age, "start_age"),
        fields.optional_uint(end_age, "end_age"),
        None if models is None else tuple(map(_model_result, _few(models, "result's models"))),
    )


def _model_result(value: Any) -> messages.ModelResult:
    handle, name, version, desired, state, status, reason, rollback = fields.array(value, 8, "result's model")
    return messages.ModelResult(
        fields.optional_text(handle, "handle"),
        fields.optional_text(name, "name"),
        fields.optional_text(version, "version"),
        fields.enum_value(desired, STATES, "desired"),
        fields.enum_value(state, STATES, "state"),
        fields.enum_value(status, STATUSES, "status"),
        fields.optional_text(reason, "reason"),
        fields.optional_text(rollback, "rollback_reason"),
    )
