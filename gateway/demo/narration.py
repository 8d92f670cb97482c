"""Describes an event in one line: its direction, a label with the size, and its meaning in a few words. Pure.

A line must never hold a control character from a device, since that could change the terminal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gateway import protocol
from gateway.core import apply_exponent
from gateway.demo.events import BlockRange, CallEvent, Event, PublishEvent, decode_ack, decode_block, decode_plan
from gateway.demo.tracker import RUNTIME
from gateway.errors import Code, MessageError, code_words, printable
from gateway.protocol import Channel, Heartbeat, Hello, Layout, Metric, Samples

BAR_CELLS = 8
"""The progress of a model file has as many lines."""


class Direction(Enum):
    TO_GATEWAY = "device to gateway"
    TO_DEVICE = "gateway to device"
    TO_MANAGER = "gateway to manager"
    FROM_MANAGER = "manager to gateway"


class Tone(Enum):
    ROUTINE = "routine"
    NEWS = "news"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class EventLine:
    """`at`: seconds since the demo began."""

    at: float
    device: str
    direction: Direction
    label: str
    text: str
    tone: Tone


_TO_GATEWAY = {Channel.HELLO, Channel.HEARTBEAT, Channel.GET, Channel.READ, Channel.LIVE}


def describe(event: Event, layouts: Mapping[str, Mapping[int, Layout]]) -> EventLine:
    """`layouts`: those of earlier hellos, by device and tag."""
    if isinstance(event, CallEvent):
        return _call(event)
    direction = Direction.TO_GATEWAY if event.channel in _TO_GATEWAY else Direction.TO_DEVICE
    try:
        text, tone = _publish(event, layouts.get(event.device_name, {}))
    except (MessageError, ValueError) as error:
        text, tone = f"cannot be decoded: {error}", Tone.BAD
    label = f"{event.channel} {len(event.payload):,} B"
    return EventLine(event.at, event.device_name, direction, label, printable(text), tone)


def _publish(event: PublishEvent, layouts: Mapping[int, Layout]) -> tuple[str, Tone]:
    payload = event.payload
    match event.channel:
        case Channel.HELLO:
            return _hello(protocol.decode_hello(payload)), Tone.NEWS
        case Channel.HEARTBEAT:
            heartbeat = protocol.decode_heartbeat(payload)
            return _heartbeat(heartbeat, layouts), Tone.ROUTINE if heartbeat.result is None else Tone.GOOD
        case Channel.LIVE:
            live = protocol.decode_live(payload)
            return "deleted" if live is None else _heartbeat(live, layouts), Tone.NEWS
        case Channel.GET:
            return f"asks for its plan, has {digest(protocol.decode_get(payload).have)}", Tone.NEWS
        case Channel.READ:
            read = protocol.decode_read(payload)
            return f"{read.count} x {read.length:,} B from byte {read.offset:,} on", Tone.ROUTINE
        case Channel.PLAN:
            return _plan(payload) if payload else "deleted", Tone.GOOD
        case Channel.ACK:
            return _ack(payload)
        case Channel.BLOCK:
            return _progress(decode_block(payload)), Tone.ROUTINE
        case Channel.DEAD:
            return "a rejected payload, kept for the operator", Tone.BAD
        case _:
            return "", Tone.ROUTINE


def _hello(hello: Hello | None) -> str:
    if hello is None:
        return "deleted"
    layout = hello.layout
    metrics = len(layout.metrics) + sum(len(model.metrics) for model in layout.models)
    clock = "no clock" if hello.epoch is None else "has a clock"
    return f"{layout.agent_version.removeprefix(RUNTIME)}, {metrics} metrics, {clock}"


def _heartbeat(heartbeat: Heartbeat, layouts: Mapping[int, Layout]) -> str:
    layout = layouts.get(heartbeat.source) if isinstance(heartbeat.source, int) else heartbeat.source
    if layout is None:
        return f"the hello with tag {heartbeat.source} was not observed"
    texts = _values(layout.metrics, heartbeat.values)
    for model, samples in zip(layout.models, heartbeat.models, strict=False):
        texts += _values(model.metrics, samples.metrics) if samples else []
    if heartbeat.result:
        texts.insert(0, f"{heartbeat.result.deployment}: {heartbeat.result.status}")
    return ", ".join(texts)


def _values(metrics: tuple[Metric, ...], values: tuple[Samples, ...]) -> list[str]:
    return [
        f"{metric.name} {_number(samples[-2] if isinstance(samples, tuple) else samples, metric.exponent)}"
        for metric, samples in zip(metrics, values, strict=False)
        if samples is not None and samples != ()
    ]


def _number(number: float, exponent: int | None) -> str:
    value = apply_exponent(number, exponent)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def digest(value: int | None) -> str:
    return f"{value:08x}" if value else "none"


def _plan(payload: bytes) -> str:
    number, deployments = decode_plan(payload)
    if not deployments:
        return f"{digest(number)}: nothing to deploy"
    return f"{digest(number)}: " + "; ".join(f"{each[0]} = {_definitions(each[2])}" for each in deployments)


def _definitions(definitions: list[list[object]]) -> str:
    """Each is [handle, state, checksum, size, ...]; the last members may be absent."""
    texts = []
    for each in definitions:
        handle, state, _, size = (*each, None, None, None, None)[:4]
        verb = {1: "deploy", 0: "undeploy"}.get(state, state) if isinstance(state, int) else state
        texts.append(f"{verb} {handle}" + (f", {size:,} B" if isinstance(size, int) else ""))
    return ", ".join(texts)


def _progress(block: BlockRange) -> str:
    done = _full_cells(block.end, block)
    return f"{'█' * done}{'░' * (BAR_CELLS - done)} {block.end:,} of {block.total:,} B"


def _full_cells(byte: int, block: BlockRange) -> int:
    """Cells of the progress bar that are full at this byte of the file."""
    return byte * BAR_CELLS // max(1, block.total)


def is_shown(event: PublishEvent) -> bool:
    """Whether a message gets a line: of reads only the first one, of blocks only those that fill a cell of the bar."""
    try:
        if event.channel is Channel.READ:
            return protocol.decode_read(event.payload).offset == 0
        if event.channel is not Channel.BLOCK:
            return True
        block = decode_block(event.payload)
    except (MessageError, ValueError):
        return True
    return _full_cells(block.end, block) > _full_cells(block.offset, block)


def _ack(payload: bytes) -> tuple[str, Tone]:
    seq, code, detail = decode_ack(payload)
    text = f"code {code}, {code_words(code)}, seq {seq}" + (f": {detail}" if detail else "")
    return text, Tone.GOOD if code == Code.ACCEPTED else Tone.BAD


def _call(call: CallEvent) -> EventLine:
    direction = Direction.TO_MANAGER if call.operation == "SendHeartbeat" else Direction.FROM_MANAGER
    label, text, tone = call.operation, "", Tone.ROUTINE
    if call.status != 200:
        response = call.response_json
        text = str(response.get("Message") or response.get("message") or "")
        return EventLine(call.at, call.device_name, direction, f"{label}: {call.status}", printable(text), Tone.BAD)
    if call.operation == "SendHeartbeat":
        label += f" {len(call.request):,} B"
        result = call.request_json.get("DeploymentResult")
        tone = Tone.GOOD if result else Tone.ROUTINE
        text = f"{result.get('DeploymentName')}: {result.get('DeploymentStatus')}" if result else ""
    elif call.operation == "GetDeployments":
        label += f" {len(call.response):,} B"
        text = ", ".join(str(each.get("DeploymentName")) for each in call.response_json.get("Deployments") or ())
    elif call.operation == "GetDeviceRegistration":
        text = str(call.response_json.get("DeviceRegistration", ""))
    return EventLine(call.at, call.device_name, direction, label, printable(text), tone)
