"""A sighting -> the line that tells it: the way, a label with the size, and what it means in a few words.

Pure. Text that came from a device is shown without its control characters: it shall not steer a terminal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gateway.core.merging import apply_exponent
from gateway.demo import payloads
from gateway.demo.events import Call, Message, Sighting
from gateway.demo.tracker import RUNTIME
from gateway.errors import Code, MessageError, printable
from gateway.protocol import decoder
from gateway.protocol.messages import Heartbeat, Hello, Layout, Metric, Samples
from gateway.protocol.topics import Channel

STEPS = 8
"""So many lines tell the way of a model file."""
ACKS = {code.value: code.name.lower().replace("_", " ") for code in Code}


class Way(Enum):
    """Which of the two lanes, and in which direction."""

    TO_GATEWAY = "device to gateway"
    TO_DEVICE = "gateway to device"
    TO_MANAGER = "gateway to manager"
    FROM_MANAGER = "manager to gateway"


class Tone(Enum):
    """How a line is to be looked at."""

    ROUTINE = "routine"
    NEWS = "news"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story. `at`: seconds since the demo began."""

    at: float
    device: str
    way: Way
    label: str
    text: str
    tone: Tone


_TO_GATEWAY = {Channel.HELLO, Channel.HEARTBEAT, Channel.GET, Channel.READ}
_TO_MANAGER = {"SendHeartbeat"}


def tell(sighting: Sighting, layouts: Mapping[str, Mapping[int, Layout]]) -> Line:
    """The line of a sighting. `layouts`: what the hellos before it said, by device and tag."""
    if isinstance(sighting, Call):
        return _tell_call(sighting)
    way = Way.TO_GATEWAY if sighting.channel in _TO_GATEWAY else Way.TO_DEVICE
    try:
        text, tone = _message(sighting, layouts.get(sighting.device.name, {}))
    except (MessageError, ValueError) as error:
        text, tone = f"not of the protocol: {error}", Tone.BAD
    label = f"{sighting.channel} {len(sighting.payload):,} B"
    return Line(sighting.at, sighting.device.name, way, label, printable(text), tone)


def _message(message: Message, layouts: Mapping[int, Layout]) -> tuple[str, Tone]:
    payload = message.payload
    match message.channel:
        case Channel.HELLO:
            return _hello(decoder.decode_hello(payload)), Tone.NEWS
        case Channel.HEARTBEAT:
            heartbeat = decoder.decode_heartbeat(payload)
            return _heartbeat(heartbeat, layouts), Tone.ROUTINE if heartbeat.result is None else Tone.GOOD
        case Channel.GET:
            return f"asks for its plan, has {digest(decoder.decode_get(payload).have)}", Tone.NEWS
        case Channel.READ:
            read = decoder.decode_read(payload)
            return f"{read.count} x {read.length:,} B from byte {read.offset:,} on", Tone.ROUTINE
        case Channel.PLAN:
            return _plan(payload) if payload else "taken back", Tone.GOOD
        case Channel.ACK:
            return _ack(payload)
        case Channel.BLOCK:
            return _progress(payloads.block(payload)), Tone.ROUTINE
        case Channel.DEAD:
            return "a refused payload, kept for the operator", Tone.BAD
        case _:
            return "", Tone.ROUTINE


def _hello(hello: Hello | None) -> str:
    if hello is None:
        return "taken back"
    layout = hello.layout
    metrics = len(layout.metrics) + sum(len(model.metrics) for model in layout.models)
    clock = "no clock" if hello.epoch is None else "has a clock"
    return f"{layout.agent_version.removeprefix(RUNTIME)}, {metrics} metrics, {clock}"


def _heartbeat(heartbeat: Heartbeat, layouts: Mapping[int, Layout]) -> str:
    layout = layouts.get(heartbeat.source) if isinstance(heartbeat.source, int) else heartbeat.source
    if layout is None:
        return f"of tag {heartbeat.source}, whose hello was not seen"
    said = _values(layout.metrics, heartbeat.values)
    for model, samples in zip(layout.models, heartbeat.models, strict=False):
        said += _values(model.metrics, samples.metrics) if samples else []
    if heartbeat.result:
        said.insert(0, f"{heartbeat.result.deployment}: {heartbeat.result.status}")
    return ", ".join(said)


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
    """A plan's digest for people."""
    return f"{value:08x}" if value else "none"


def _plan(payload: bytes) -> str:
    number, deployments = payloads.plan(payload)
    if not deployments:
        return f"{digest(number)}: nothing is to be deployed"
    return f"{digest(number)}: " + "; ".join(f"{each[0]} = {_definitions(each[2])}" for each in deployments)


def _definitions(definitions: list[list[object]]) -> str:
    """Each is [handle, state, checksum, size, ...]; trailing ones may be absent."""
    words = []
    for each in definitions:
        handle, state, _, size = (*each, None, None, None, None)[:4]
        verb = {1: "deploy", 0: "undeploy"}.get(state, state) if isinstance(state, int) else state
        words.append(f"{verb} {handle}" + (f", {size:,} B" if isinstance(size, int) else ""))
    return ", ".join(words)


def _progress(block: payloads.Block) -> str:
    """A bar of as many cells as there are steps."""
    done = block.end * STEPS // max(1, block.total)
    return f"{'█' * done}{'░' * (STEPS - done)} {block.end:,} of {block.total:,} B"


def is_step(message: Message) -> bool:
    """Whether a message is worth a line: of reads the first, of blocks those that fill a cell of the bar."""
    try:
        if message.channel is Channel.READ:
            return decoder.decode_read(message.payload).offset == 0
        if message.channel is not Channel.BLOCK:
            return True
        block = payloads.block(message.payload)
    except (MessageError, ValueError):
        return True
    return block.end * STEPS // max(1, block.total) > block.offset * STEPS // max(1, block.total)


def _ack(payload: bytes) -> tuple[str, Tone]:
    seq, code, detail = payloads.ack(payload)
    text = f"code {code}, {ACKS.get(code, 'unknown')}, seq {seq}" + (f": {detail}" if detail else "")
    return text, Tone.GOOD if code == Code.ACCEPTED else Tone.BAD


def _tell_call(call: Call) -> Line:
    way = Way.TO_MANAGER if call.operation in _TO_MANAGER else Way.FROM_MANAGER
    label, text, tone = call.operation, "", Tone.ROUTINE
    if call.status != 200:
        return Line(call.at, call.device, way, f"{label}: {call.status}", _refusal(call), Tone.BAD)
    if call.operation == "SendHeartbeat":
        label += f" {len(call.request):,} B"
        result = call.body.get("DeploymentResult")
        tone = Tone.GOOD if result else Tone.ROUTINE
        text = f"{result.get('DeploymentName')}: {result.get('DeploymentStatus')}" if result else ""
    elif call.operation == "GetDeployments":
        label += f" {len(call.answer):,} B"
        text = ", ".join(str(each.get("DeploymentName")) for each in call.answered.get("Deployments") or ())
    elif call.operation == "GetDeviceRegistration":
        text = str(call.answered.get("DeviceRegistration", ""))
    return Line(call.at, call.device, way, label, printable(text), tone)


def _refusal(call: Call) -> str:
    answer = call.answered
    return printable(str(answer.get("Message") or answer.get("message") or ""))
