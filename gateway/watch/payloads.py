"""One payload: hex, base64 or a file -> JSON, and JSON -> a payload, in the names of device_sdk/PROTOCOL.md."""

import base64
import binascii
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from gateway.errors import GatewayError, MessageError
from gateway.protocol import Channel, Layout, decode_heartbeat, decode_hello, name_elements, pack_elements
from gateway.watch.messages import explain
from gateway.watch.samples import named_samples

SAMPLES = "samples"
"""What `decode` adds to a heartbeat whose layout is known; `encode` makes nothing of it."""
MAX_SHOWN = 64
"""Bytes of a payload that an error shows."""
_HEX = re.compile(r"[0-9a-fA-F\s]*")


class InputError(GatewayError):
    """What was given is not what the command needs: the message says what was found, and where."""


def read_bytes(source: str) -> bytes:
    """A payload as hex or base64; `-`: of stdin, `@FILE`: of a file, there the payload itself too.

    A payload begins with an array, so with a byte above 0x7F: whatever begins with a character is text. Raises
    InputError, or OSError.
    """
    data = _read(source)
    if data[:1] >= b"\x80" and source[:1] in "-@":
        return data
    text = data.decode("latin-1")
    if _HEX.fullmatch(text):
        digits = "".join(text.split())
        if len(digits) % 2:
            raise InputError(f"hex: {len(digits)} digits, half a byte at byte {len(digits) // 2}")
        return bytes.fromhex(digits)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        at = next(at for at, character in enumerate(text) if not _HEX.fullmatch(character))
        raise InputError(f"neither hex ({text[at]!r} at byte {at}) nor base64 ({error})") from None


def read_text(source: str) -> str:
    """As it is given; `-`: of stdin, `@FILE`: of a file. Raises InputError, or OSError."""
    try:
        return _read(source).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"JSON: byte {error.start} is no UTF-8") from None


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    return Path(source[1:]).read_bytes() if source.startswith("@") else source.encode(errors="surrogateescape")


def decode(channel: str, payload: bytes, hello: bytes | None = None) -> dict[str, Any] | None:
    """The payload by the names of the protocol page; None: an empty one. `samples`: what those of a heartbeat mean,
    where it brings its layout, or `hello` is the payload of that.

    Raises InputError, with the byte.
    """
    named = _checked(channel, payload)
    if channel != Channel.HEARTBEAT or named is None:
        return named
    layout = _layout(payload, hello)
    try:
        samples = None if layout is None else named_samples(decode_heartbeat(payload), layout)
    except MessageError as error:
        raise InputError(error.detail) from None
    return named if samples is None else named | {SAMPLES: [each._asdict() for each in samples]}


def _layout(payload: bytes, hello: bytes | None) -> Layout | None:
    source = decode_heartbeat(payload).source
    if isinstance(source, Layout) or hello is None:
        return source if isinstance(source, Layout) else None
    _checked(Channel.HELLO, hello)
    introduced = decode_hello(hello)
    if introduced is None or introduced.tag != source:
        tag = "no tag" if introduced is None else f"tag {introduced.tag}"
        raise InputError(f"--hello has {tag}, and the heartbeat tag {source}")
    return introduced.layout


def encode(channel: str, text: str) -> bytes:
    """The payload of a JSON object as `decode` gives it, or of the array as it travels; `null`: the empty payload.

    Raises InputError, with the byte of the JSON, or of the payload that it would make.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        at = len(text[: error.pos].encode(errors="replace"))
        raise InputError(f"JSON: {error.msg} at byte {at}") from None
    except RecursionError:
        raise InputError("JSON: nested too deeply") from None
    if isinstance(value, dict):
        value.pop(SAMPLES, None)
    try:
        payload = pack_elements(channel, value)
    except MessageError as error:
        raise InputError(error.detail) from None
    _checked(channel, payload)
    return payload


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"JSON: {name} is no number of the protocol")


def _checked(channel: str, payload: bytes) -> dict[str, Any] | None:
    try:
        return name_elements(channel, payload)
    except MessageError as error:
        raise InputError(f"{channel}: {explain(channel, payload, error)} ({payload[:MAX_SHOWN].hex()})") from None
