"""Sightings -> what is known of each device, and what has not happened yet. No I/O, no clock.

It counts only what was seen, and must never take one thing for the proof of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.demo import payloads
from gateway.demo.events import Call, Message, Sighting
from gateway.errors import Code, MessageError
from gateway.protocol import decoder
from gateway.protocol.messages import Heartbeat, Hello, Layout, Samples
from gateway.protocol.topics import Channel

RUNTIME = "demo on "
"""What the agent version of the demo's devices begins with; the runtime follows."""


@dataclass(slots=True)
class DeviceRecord:
    """One device, as it was seen."""

    name: str
    layouts: dict[int, Layout] = field(default_factory=dict)
    hello: Hello | None = None
    hello_bytes: int = 0
    heartbeats: int = 0
    payload_bytes: int = 0
    packet_bytes: int = 0
    samples_sent: int = 0
    accepted: int = 0
    json_bytes: int = 0
    http_bytes: int = 0
    samples_accepted: int = 0
    digest: int | None = None
    deployments: tuple[str, ...] = ()
    have: int | None = None
    results: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)

    @property
    def runtime(self) -> str:
        """What the device says that it runs on."""
        return self.hello.layout.agent_version.removeprefix(RUNTIME) if self.hello else "?"

    @property
    def is_settled(self) -> bool:
        """Whether every sample that the device sent stood in a call that was accepted."""
        return self.samples_sent == self.samples_accepted


class Record:
    """All devices of one fleet."""

    def __init__(self, devices: Sequence[str]) -> None:
        self.devices = {name: DeviceRecord(name) for name in devices}

    def is_early(self, sighting: Sighting) -> bool:
        """Whether a SendHeartbeat carries samples of a heartbeat that was not seen yet: two roads are never in step."""
        if not isinstance(sighting, Call) or sighting.operation != "SendHeartbeat" or sighting.status != 200:
            return False
        device = self.devices.get(sighting.device)
        return device is not None and device.samples_accepted + sighting.samples > device.samples_sent

    def add(self, sighting: Sighting) -> None:
        """Learn from it; a device that is not ours, and a payload that is not of the protocol, teach nothing."""
        name = sighting.device.name if isinstance(sighting, Message) else sighting.device
        device = self.devices.get(name)
        if device is None:
            return
        try:
            if isinstance(sighting, Message):
                _learn(device, sighting)
            else:
                _learn_call(device, sighting)
        except (MessageError, ValueError) as error:
            device.refusals.append(f"{type(error).__name__}: {error}")


def _learn(device: DeviceRecord, message: Message) -> None:
    match message.channel:
        case Channel.HELLO:
            device.hello = decoder.decode_hello(message.payload)
            device.hello_bytes = len(message.payload)
            if device.hello:
                device.layouts[device.hello.tag] = device.hello.layout
        case Channel.HEARTBEAT:
            _learn_heartbeat(device, message)
        case Channel.PLAN if message.payload:
            device.digest, deployments = payloads.plan(message.payload)
            device.deployments = tuple(each[0] or "" for each in deployments)
        case Channel.ACK:
            _, code, detail = payloads.ack(message.payload)
            if code != Code.ACCEPTED:
                device.refusals.append(f"the gateway answered code {code}: {detail or 'no detail'}")


def _learn_heartbeat(device: DeviceRecord, message: Message) -> None:
    heartbeat = decoder.decode_heartbeat(message.payload)
    device.heartbeats += 1
    device.payload_bytes += len(message.payload)
    device.packet_bytes += message.packet
    device.samples_sent += samples_of(heartbeat)
    device.have = heartbeat.have


def _learn_call(device: DeviceRecord, call: Call) -> None:
    if call.status != 200:
        device.refusals.append(f"{call.operation} was answered {call.status}")
    elif call.operation == "SendHeartbeat":
        device.accepted += 1
        device.json_bytes += len(call.request)
        device.http_bytes += call.head + len(call.request)
        device.samples_accepted += call.samples
        result = call.body.get("DeploymentResult")
        if result:
            device.results[result.get("DeploymentName", "")] = result.get("DeploymentStatus", "")


def samples_of(heartbeat: Heartbeat) -> int:
    """How many samples of metrics a heartbeat carries."""
    rows = [heartbeat.values, *[model.metrics for model in heartbeat.models if model is not None]]
    return sum(_count(samples) for row in rows for samples in row)


def _count(samples: Samples) -> int:
    return len(samples) // 2 if isinstance(samples, tuple) else int(samples is not None)


@dataclass(frozen=True, slots=True)
class Lack:
    """What has not happened, and the part at which it stopped: "device", "gateway" or "manager"."""

    what: str
    part: str


def lack(device: DeviceRecord, deployment: str | None = None) -> Lack | None:
    """The first thing on a device's way that was not seen. `deployment`: one that it should have carried out."""
    way = [
        (device.hello is not None, Lack("it said no hello", "device")),
        (device.heartbeats > 0, Lack("it sent no heartbeat", "device")),
        (device.accepted > 0, Lack("no SendHeartbeat for it was accepted", "gateway")),
    ]
    if deployment is not None:
        told = device.results.get(deployment)
        way += [
            (deployment in device.deployments, Lack(f"no plan with {deployment} came on its topic", "gateway")),
            (told is None or told == "SUCCESS", Lack(f"it told that {deployment} ended with {told}", "device")),
            (told is not None, Lack(f"no DeploymentResult of {deployment} for it was accepted", "device")),
            (device.have == device.digest, Lack("its heartbeats do not name the plan's digest", "device")),
        ]
    return next((each for seen, each in way if not seen), None)


def contradictions(device: DeviceRecord, report: Mapping[str, Any], deployment: str) -> list[str]:
    """Where the manager's own `status` of a device does not say what was seen on the way."""
    found = []
    if not device.is_settled:
        found.append(f"{device.samples_sent} samples were sent, {device.samples_accepted} stood in accepted calls")
    if report["accepted"] != device.accepted:
        found.append(
            f"{device.accepted} SendHeartbeat calls were answered 200, the manager counts {report['accepted']}"
        )
    if result_of(report, deployment) != "SUCCESS":
        found.append(f"the manager's result of {deployment} is {result_of(report, deployment) or 'missing'}")
    return found


def result_of(report: Mapping[str, Any], deployment: str) -> str:
    """DeploymentStatus as the manager recorded it; empty where there is none."""
    results = [each["result"] for each in report["results"] if each["deployment"] == deployment]
    return str(results[-1].get("DeploymentStatus", "")) if results else ""
