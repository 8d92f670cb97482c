"""Payloads in the names of device_sdk/PROTOCOL.md: bytes -> JSON values and back, for people who look at messages.

The decoder decides what is a payload of a device; what the gateway sends is checked here. Must never be called for a
message that the gateway handles.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgpack

from gateway.errors import DecodeError
from gateway.protocol import fields
from gateway.protocol.decoder import DECODERS, unpack
from gateway.protocol.messages import POLICIES, STATES, STATUSES

_HEX_OF_SHA1 = re.compile("[0-9a-fA-F]{40}")


class _Element(Protocol):
    def to_json(self, value: Any, what: str) -> Any:
        """Raises DecodeError where it is checked here, and is not what belongs there."""

    def from_json(self, value: Any, what: str) -> Any:
        """Raises DecodeError where JSON has something that cannot be sent."""


@dataclass(frozen=True, slots=True)
class _Plain:
    """The same in JSON. `check`: None, where the decoder checks it."""

    check: Callable[[Any, str], Any] | None = None

    def to_json(self, value: Any, what: str) -> Any:
        return value if self.check is None else self.check(value, what)

    def from_json(self, value: Any, what: str) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class _Word:
    """A number of the page that stands for a word, which JSON has; other words travel as they are."""

    words: dict[int, str]

    def to_json(self, value: Any, what: str) -> Any:
        return fields.enum_value(value, self.words, what)

    def from_json(self, value: Any, what: str) -> Any:
        return next((number for number, word in self.words.items() if word == value), value)


class _Data:
    """Bytes, as hex in JSON."""

    def to_json(self, value: Any, what: str) -> Any:
        if type(value) is not bytes:
            raise fields.type_error(value, what, "bin")
        return value.hex()

    def from_json(self, value: Any, what: str) -> Any:
        try:
            return bytes.fromhex(value)
        except (TypeError, ValueError):
            raise DecodeError(f"{what}: {value!r} where hex digits belong") from None


class _Checksum:
    """Bytes where it has 40 hex digits, else text."""

    def to_json(self, value: Any, what: str) -> Any:
        return value.hex() if type(value) is bytes else fields.optional_text(value, what)

    def from_json(self, value: Any, what: str) -> Any:
        return bytes.fromhex(value) if isinstance(value, str) and _HEX_OF_SHA1.fullmatch(value) else value


@dataclass(frozen=True, slots=True)
class _List:
    """Any number of the same; None stays None."""

    of: _Element
    check: Callable[[Any, str], Any] | None = None

    def to_json(self, value: Any, what: str) -> Any:
        if self.check is not None:
            self.check(value, what)
        return None if value is None else [self.of.to_json(each, f"{what}[{i}]") for i, each in enumerate(value)]

    def from_json(self, value: Any, what: str) -> Any:
        if not isinstance(value, list):
            return value
        return [self.of.from_json(each, f"{what}[{i}]") for i, each in enumerate(value)]


class _Form:
    """An array whose elements have names. In JSON an object, or the array as it travels. None stays None."""

    def __init__(self, **elements: _Element) -> None:
        self._elements = elements

    def to_json(self, value: Any, what: str) -> Any:
        if value is None:
            return None
        elements = self._elements_of(value)
        named = fields.array(value, len(elements), what)
        texts = {name: element.to_json(each, name) for (name, element), each in zip(elements, named, strict=True)}
        return {name: each for name, each in texts.items() if each is not None}

    def from_json(self, value: Any, what: str) -> Any:
        if isinstance(value, list):
            named = zip(self._elements_of(value), value, strict=False)
            known = [element.from_json(each, name) for (name, element), each in named]
            return known + value[len(known) :]
        if not isinstance(value, dict):
            return value
        elements = self._elements_of(value)
        unknown = value.keys() - dict(elements)
        if unknown:
            names = ", ".join(name for name, _ in elements)
            raise DecodeError(f"{what}: {min(unknown)!r} is none of its elements ({names})")
        packed = [element.from_json(value.get(name), name) for name, element in elements]
        while packed and packed[-1] is None:
            packed.pop()
        return packed

    def _elements_of(self, value: Any) -> list[tuple[str, _Element]]:
        return list(self._elements.items())


class _HeartbeatForm(_Form):
    """The first element is a tag, or a layout in its place."""

    def _elements_of(self, value: Any) -> list[tuple[str, _Element]]:
        first = value.get("layout") if isinstance(value, dict) else next(iter(value), None)
        without = "layout" if first is None or isinstance(first, int) else "tag"
        return [each for each in super()._elements_of(value) if each[0] != without]


def _uint_or_nil() -> _Plain:
    return _Plain(fields.optional_uint)


_ANY = _Plain()
_UINT, _TEXT = _Plain(fields.uint), _Plain(fields.optional_text)
_METRICS = _List(_Form(dimension=_ANY, name=_ANY, exponent=_ANY))
_LAYOUT = _Form(agent_version=_ANY, metrics=_METRICS, models=_List(_Form(name=_ANY, version=_ANY, metrics=_METRICS)))
_STATE, _STATUS = _Word(STATES), _Word(STATUSES)
_RESULT_MODEL = _Form(
    handle=_ANY,
    name=_ANY,
    version=_ANY,
    desired=_STATE,
    state=_STATE,
    status=_STATUS,
    reason=_ANY,
    rollback_reason=_ANY,
)
_DEFINITION = _Form(
    handle=_TEXT, state=_STATE, checksum=_Checksum(), size=_uint_or_nil(), url=_TEXT, checksum_type=_TEXT
)
_DEPLOYMENT = _Form(
    deployment=_TEXT, policy=_Word(POLICIES), definitions=_List(_DEFINITION, fields.optional_array), type=_TEXT
)

_FORMS: dict[str, _Form] = {
    "hello": _Form(tag=_ANY, layout=_LAYOUT, epoch=_ANY, max_payload=_ANY, flags=_ANY),
    "hb": _HeartbeatForm(
        tag=_ANY,
        layout=_LAYOUT,
        time=_ANY,
        values=_List(_ANY),
        models=_List(_Form(sample_age=_ANY, inference_age=_ANY, samples=_List(_ANY))),
        have=_ANY,
        result=_Form(
            deployment=_ANY,
            status=_ANY,
            message=_ANY,
            start_age=_ANY,
            end_age=_ANY,
            models=_List(_RESULT_MODEL),
        ),
        seq=_ANY,
    ),
    "get": _Form(have=_ANY, seq=_ANY),
    "read": _Form(digest=_ANY, index=_ANY, offset=_ANY, length=_ANY, count=_ANY),
    "live": _Form(state=_ANY, seconds=_ANY),
    "plan": _Form(digest=_UINT, deployments=_List(_DEPLOYMENT, fields.needed_array)),
    "ack": _Form(seq=_uint_or_nil(), code=_UINT, time=_UINT, detail=_TEXT),
    "block": _Form(digest=_UINT, index=_UINT, offset=_UINT, total=_UINT, data=_Data()),
}
FORMS = tuple(_FORMS)
"""The channels whose payloads have a form."""
_NONE_WHEN_EMPTY = ("hello", "live", "plan")
_GET_WHEN_EMPTY = b"\x91\0"


def name_elements(channel: str, payload: bytes) -> dict[str, Any] | None:
    """The payload as a JSON object: its elements by the names of the protocol page; those that are nil, and those that
    the page does not have, are left out. None for an empty payload, where that says that there is none.

    Raises DecodeError (form) or LimitError (a limit of the service), as the gateway would.
    """
    if channel in DECODERS:
        DECODERS[channel](payload)
    if not payload and channel in _NONE_WHEN_EMPTY:
        return None
    value = unpack(payload or _GET_WHEN_EMPTY if channel == "get" else payload)
    if type(value) is not tuple:
        raise fields.type_error(value, channel, "an array")
    named: dict[str, Any] = _FORMS[channel].to_json(value, channel)
    return named


def pack_elements(channel: str, value: Any) -> bytes:
    """The payload of a JSON object with the names of the protocol page, or of the array as it travels, in shortest
    forms. None: the empty payload.

    Raises DecodeError for what cannot be sent. Whether the channel takes it, `name_elements` says.
    """
    if value is None:
        return b""
    try:
        payload: bytes = msgpack.packb(_FORMS[channel].from_json(value, channel))
    except OverflowError:
        raise DecodeError(f"{channel}: an int that msgpack does not have (-2^63 to 2^64 - 1)") from None
    except UnicodeEncodeError:
        raise DecodeError(f"{channel}: text that cannot be UTF-8") from None
    except ValueError:
        raise DecodeError(f"{channel}: nested too deeply") from None
    return payload
