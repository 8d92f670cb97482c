"""Whatever the bytes, in whatever order: a message, or DecodeError or LimitError; time and memory in proportion to
them.

And the engine acknowledges each delivery exactly once, whatever the service answers; what leaves is finite and in its
dates. `run` reads an input as steps, each a head of three bytes and a payload: bits 0 to 2 of the first byte name the
channel, bit 3 the device, the others what happens afterwards; the next two say how long the payload is. Time is counted
in lines of Python, so that a loaded machine changes nothing.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from gateway.cloud import json_body
from gateway.core.effects import Acknowledge, CallService, DeadLetter, Effect, PublishAck, PublishPlan
from gateway.core.engine import Engine, Policy
from gateway.errors import Code, DecodeError, LimitError, MessageError
from gateway.protocol import decoder, encoder
from gateway.protocol.messages import LATEST, Device, DeviceMessage, Instant, ModelFile, Plan
from gateway.protocol.service_calls import (
    Abandoned,
    Accepted,
    Call,
    Cancelled,
    GetDeployments,
    Outcome,
    Registration,
    Rejected,
    RetryLater,
    SendHeartbeat,
)
from tests.fuzz.cost import Cost
from tests.support.engine import DEVICE, EPOCH, OTHER, Token

Decoders: TypeAlias = Sequence[Callable[[bytes], DeviceMessage | None]]

CHANNELS = ("hello", "hb", "get", "read", "live")
DECODERS: Decoders = tuple(decoder.DECODERS[channel] for channel in CHANNELS)
DEVICES = (DEVICE, OTHER)
ANSWERS = ("accept", "reject", "give up", "unregister", "fail for all", "fail alone")
AFTERWARDS = ("nothing", *ANSWERS, "wait", "confirm", "resume", "new session", "retry", "lower limit")
HEAD = 3
PLAN = Plan(1, b"u" * 100, b"b" * 50, (ModelFile("s3://models/kws.tflite", "0" * 40), None))

LINES_A_STEP, LINES_A_BYTE = 500, 100
MEMORY, MEMORY_A_BYTE = 400_000, 600
"""What a run may cost: msgpack's buffers, then for each byte a sample, its place in a call and the JSON of it."""


def step(channel: str, payload: bytes, afterwards: str = "nothing", device: Device = DEVICE) -> bytes:
    """The bytes of one step."""
    head = CHANNELS.index(channel) | DEVICES.index(device) << 3 | AFTERWARDS.index(afterwards) << 4
    return bytes([head]) + len(payload).to_bytes(2, "big") + payload


def steps(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The first byte and the payload of each step."""
    while len(data) >= HEAD:
        end = HEAD + int.from_bytes(data[1:HEAD], "big")
        yield data[0], data[HEAD:end]
        data = data[end:]


def run(data: bytes, decoders: Decoders = DECODERS, memory: bool = True) -> Cost:
    """All steps and the end of all that waits; raises AssertionError, or what nobody should have raised."""
    with Cost(memory) as cost:
        driver = EngineDriver(decoders)
        for head, payload in steps(data):
            driver.deliver((head & 7) % len(CHANNELS), DEVICES[head >> 3 & 1], payload)
            driver.happen(AFTERWARDS[(head >> 4) % len(AFTERWARDS)])
        driver.end()
    count = len(driver.waits) + 1
    assert cost.lines <= LINES_A_STEP * count + LINES_A_BYTE * len(data), f"{cost}: {count} steps, {len(data)} bytes"
    assert cost.peak <= MEMORY + MEMORY_A_BYTE * len(data), f"{cost}: {len(data)} bytes"
    return cost


class EngineDriver:
    """An engine, and what is known outside of it: which deliveries wait, the calls in flight, the time."""

    def __init__(self, decoders: Decoders) -> None:
        self.decoders = decoders
        self.engine = Engine(Policy(merge_heartbeats=3, merge_bytes=2000))
        self.seconds = 1000.0
        self.connection = 1
        self.waits: dict[Any, bool] = {}
        self.in_flight: dict[Device, Call] = {}
        self.backing_off: list[Device] = []

    @property
    def now(self) -> Instant:
        return Instant(EPOCH + self.seconds, self.seconds)

    def deliver(self, channel: int, device: Device, payload: bytes) -> None:
        """A payload is received, or rejected for its own fault, as the gateway does it."""
        token = Token(len(self.waits), self.connection)
        self.waits[token] = True
        try:
            message = self.decoders[channel](payload)
        except (DecodeError, LimitError) as error:
            self.reject(token, error, device)
        else:
            self.execute(self.engine.receive(device, message, token, self.now) if message else [Acknowledge(token)])

    def reject(self, token: Token, error: MessageError, device: Device) -> None:
        """The reason is short enough for an ack, and fit for a log; that is the end of it."""
        assert 0 < len(error.detail) < 400
        assert error.detail.isprintable()
        self.execute(self.engine.reject(token, error, self.now, device))
        assert not self.waits[token]

    def happen(self, what: str) -> None:
        """What the service, the broker or the clock does after a step."""
        if what == "wait":
            self.seconds += 4.0
            self.execute(self.engine.tick(self.now))
        elif what == "confirm":
            for device in DEVICES:
                self.engine.hello_lookup_started(device, self.now)
        elif what in ("resume", "new session"):
            self.connection += 1
            self.execute(self.engine.reconnected(self.connection, what == "resume", self.now))
        elif what in ANSWERS:
            self.answer(what)
        elif what == "lower limit":
            self.execute(self.engine.set_concurrency(1, self.now))
        elif what == "retry":
            backing_off, self.backing_off = self.backing_off, []
            for device in backing_off:
                self.execute(self.engine.retry_due(device, self.now))

    def answer(self, what: str) -> None:
        """All calls in flight come back."""
        for device in list(self.in_flight):
            answer = answered(self.in_flight.pop(device), what)
            self.backing_off += [device] if answer == RetryLater(only_this_device=True) else []
            self.execute(self.engine.resolve(device, answer, self.now))

    def end(self) -> None:
        """With a service that answers, nothing waits for ever."""
        for _ in range(2 * len(self.waits) + 4):
            if self.idle:
                break
            for what in ("retry", "confirm", "wait", "accept"):
                self.happen(what)
        assert self.idle, f"{self.engine!r}, {self.in_flight}, {self.waits}"

    @property
    def idle(self) -> bool:
        """Nothing waits, here or in the core."""
        nothing = not self.in_flight and not any(self.waits.values())
        return nothing and repr(self.engine).endswith("0 busy, 0 awaiting a hello>")

    def execute(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case CallService(call):
                    assert call.device not in self.in_flight
                    self.in_flight[call.device] = call
                    check(call)
                case Acknowledge(token):
                    assert self.waits[token], "acknowledged twice"
                    self.waits[token] = False
                case PublishPlan():
                    self.execute(self.engine.plan_published(effect, self.now))
                case PublishAck(_, ack, room):
                    least = len(encoder.encode_ack(ack, 0))
                    assert len(encoder.encode_ack(ack, room)) <= max(least, 200 if room is None else room)
                case DeadLetter(_, code, detail):
                    assert code is not Code.ACCEPTED
                    assert detail


def answered(call: Call, what: str) -> Outcome[Any]:
    """How the service answers a call; it never rejects a registration call."""
    registration = not isinstance(call, SendHeartbeat | GetDeployments)
    if what in ("fail for all", "fail alone"):
        return (
            Cancelled("no")
            if isinstance(call, GetDeployments) and not call.retryable
            else RetryLater(what == "fail alone")
        )
    if what == "give up" or (what == "reject" and registration):
        return Abandoned("503")
    if what == "reject":
        return Rejected("no")
    if registration:
        return Accepted(Registration("no" if what == "unregister" else "true", 8.0))
    return Accepted(PLAN if isinstance(call, GetDeployments) else None)


def check(call: Call) -> None:
    """A heartbeat that leaves is JSON with finite numbers, and its dates are such as the page allows."""
    assert json.loads(json_body.encode(call))["DeviceName"] == call.device.name
    if not isinstance(call, SendHeartbeat):
        return
    samples = [*call.metrics, *(sample for model in call.models for sample in model.metrics)]
    dates = [date for _, _, date in samples]
    dates += [date for model in call.models for date in (model.latest_sample, model.latest_inference) if date]
    dates += [date for date in (call.result.start, call.result.end) if date] if call.result else []
    assert all(math.isfinite(value) for _, value, _ in samples)
    assert all(0 <= date <= LATEST for date in dates)
