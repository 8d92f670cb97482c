"""A message of the broker -> what is shown of it: a line, or an object for programs. Pure; times are arguments."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.errors import LimitError, MessageError, printable
from gateway.protocol import (
    DECODERS,
    FORMS,
    Channel,
    Device,
    Heartbeat,
    Hello,
    Layout,
    Topics,
    decode_heartbeat,
    decode_hello,
    find_byte,
    name_elements,
)
from gateway.watch.samples import NamedSample, named_samples
from gateway.watch.text import content_text

MAX_DEVICES = 131_072
"""Devices whose layouts are kept; beyond them the first is forgotten."""
MAX_TAGS = 4
"""Of a device, as the gateway keeps."""
ANSWER_WAIT = 10.0
"""Seconds in which a device that asks should be answered."""
UNANSWERED = (
    "a device asks for an ack, and no message of the gateway was seen since: the gateway does not run, or the ACL does "
    "not let this user read plan, ack and block (see The ACL in mosquitto/README.md)"
)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came. `at`: Unix seconds. `retained`: it was there before the subscription."""

    at: float
    topic: str
    payload: bytes
    retained: bool = False


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """What is known of a message. `device`, `channel`: as the topic has them. `named`: None without a content.

    `problem`: why it cannot be decoded; None: it could.
    """

    received: Received
    device: str
    channel: str
    named: dict[str, Any] | None = None
    samples: list[NamedSample] | None = None
    problem: str | None = None

    @property
    def from_device(self) -> bool:
        return self.channel in DECODERS

    @property
    def asks(self) -> bool:
        """Whether the device waits for an ack."""
        return self.from_device and self.named is not None and self.named.get("seq") is not None

    @property
    def text(self) -> str:
        """One printable line: the content, or why there is none and the payload as hex."""
        retained = "retained: " if self.received.retained else ""
        payload = self.received.payload.hex()
        if self.problem is not None:
            return retained + printable(f"cannot be decoded: {self.problem}; {payload or 'no bytes'}")
        if self.channel not in FORMS:
            return f"{retained}refused payload: {payload or 'no bytes'}"
        return retained + content_text(self.channel, self.named, self.samples)

    def as_json(self) -> dict[str, Any]:
        """`content` and `samples` where it could be decoded, else `problem`; `hex` of what has no content."""
        received = self.received
        time = datetime.fromtimestamp(received.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown: dict[str, Any] = {
            "time": time,
            "from": "device" if self.from_device else "gateway",
            "device": self.device,
            "channel": self.channel,
            "retained": received.retained,
            "bytes": len(received.payload),
        }
        if self.problem is not None or self.channel not in FORMS:
            return shown | {"hex": received.payload.hex()} | ({"problem": self.problem} if self.problem else {})
        shown["content"] = self.named
        return shown if self.samples is None else shown | {"samples": [each._asdict() for each in self.samples]}


class Layouts:
    """The layouts of the devices by their tags, from the hellos that were seen."""

    def __init__(self) -> None:
        self._of: dict[Device, dict[int, Layout]] = {}
        self._shared: dict[Layout, Layout] = {}

    def learn(self, device: Device, hello: Hello) -> None:
        if device not in self._of and len(self._of) >= MAX_DEVICES:
            del self._of[next(iter(self._of))]
        tags = self._of.setdefault(device, {})
        tags.pop(hello.tag, None)
        tags[hello.tag] = self._shared.setdefault(hello.layout, hello.layout)
        if len(tags) > MAX_TAGS:
            del tags[next(iter(tags))]

    def of(self, device: Device, heartbeat: Heartbeat) -> Layout | None:
        """None where no hello of its tag was seen."""
        if isinstance(heartbeat.source, Layout):
            return heartbeat.source
        return self._of.get(device, {}).get(heartbeat.source)


class Describer:
    """Decodes messages one after the other. `learn` may be called in another thread than `describe`."""

    def __init__(self, root: str) -> None:
        self._topics, self._layouts = Topics(root), Layouts()
        self._asked: float | None = None
        self._answered = False

    def learn(self, received: Received) -> None:
        """Keep the layout, where it is a good hello."""
        try:
            device, channel = self._topics.parse(received.topic)
            hello = decode_hello(received.payload) if channel is Channel.HELLO else None
        except MessageError:
            return
        if hello is not None:
            self._layouts.learn(device, hello)

    def describe(self, received: Received) -> ShownMessage:
        *_, fleet, name, channel = ["", "", *received.topic.split("/")]
        device_text = printable(f"{fleet}/{name}")
        try:
            device, _ = self._topics.parse(received.topic)
        except LimitError as error:
            return ShownMessage(received, device_text, printable(channel), problem=error.detail)
        if channel not in FORMS:
            return ShownMessage(received, device_text, channel)
        try:
            named = name_elements(channel, received.payload)
        except MessageError as error:
            return ShownMessage(received, device_text, channel, problem=explain(channel, received.payload, error))
        try:
            samples = self._samples(device, received.payload) if channel == Channel.HEARTBEAT else None
        except MessageError as error:
            return ShownMessage(received, device_text, channel, problem=error.detail)
        return ShownMessage(received, device_text, channel, named, samples)

    def is_unanswered(self, shown: ShownMessage) -> bool:
        """Whether to say now, once, that nothing of the gateway is seen although a device asked for it before."""
        if not shown.from_device:
            self._answered = True
        if self._answered or shown.received.retained:
            return False
        if self._asked is not None:
            self._answered = shown.received.at - self._asked > ANSWER_WAIT
            return self._answered
        if shown.asks:
            self._asked = shown.received.at
        return False

    def _samples(self, device: Device, payload: bytes) -> list[NamedSample] | None:
        heartbeat = decode_heartbeat(payload)
        layout = self._layouts.of(device, heartbeat)
        return None if layout is None else named_samples(heartbeat, layout)


def explain(channel: str, payload: bytes, error: MessageError) -> str:
    """What is wrong, and at which byte of the payload; the first is 0."""
    at = find_byte(payload, lambda part: name_elements(channel, part))
    return f"{error.detail}, at byte {at} of {len(payload)}"
