"""Counts events for each device, and finds what has not happened yet. Pure.

It counts only what was observed. An event must never prove anything but itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.demo.events import CallEvent, Event, PublishEvent, decode_ack, decode_plan
from gateway.errors import Code, MessageError
from gateway.protocol import Channel, Heartbeat, Hello, Layout, Samples, decode_heartbeat, decode_hello

RUNTIME = "demo on "
"""The agent version of the demo's devices begins with it; the runtime follows."""


@dataclass(slots=True)
class TrackedDevice:
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
    errors: list[str] = field(default_factory=list)

    @property
    def runtime(self) -> str:
        """What the device runs on, by its hello."""
        return self.hello.layout.agent_version.removeprefix(RUNTIME) if self.hello else "?"

    @property
    def all_samples_accepted(self) -> bool:
        """Whether accepted calls have carried every sample that the device sent."""
        return self.samples_sent == self.samples_accepted


class Tracker:
    def __init__(self, devices: Sequence[str]) -> None:
        self.devices = {name: TrackedDevice(name) for name in devices}

    def is_early(self, event: Event) -> bool:
        """Whether a SendHeartbeat carries samples of a heartbeat that is not observed yet.

        The two observers may report in another order.
        """
        if not isinstance(event, CallEvent) or event.operation != "SendHeartbeat" or event.status != 200:
            return False
        device = self.devices.get(event.device_name)
        return device is not None and device.samples_accepted + event.samples > device.samples_sent

    def add(self, event: Event) -> None:
        """Count an event. Another fleet's device is ignored, a payload that cannot be decoded becomes an error."""
        device = self.devices.get(event.device_name)
        if device is None:
            return
        try:
            if isinstance(event, PublishEvent):
                _add_publish(device, event)
            else:
                _add_call(device, event)
        except (MessageError, ValueError) as error:
            device.errors.append(f"{type(error).__name__}: {error}")


def _add_publish(device: TrackedDevice, event: PublishEvent) -> None:
    match event.channel:
        case Channel.HELLO:
            device.hello = decode_hello(event.payload)
            device.hello_bytes = len(event.payload)
            if device.hello:
                device.layouts[device.hello.tag] = device.hello.layout
        case Channel.HEARTBEAT:
            _add_heartbeat(device, event)
        case Channel.PLAN if event.payload:
            device.digest, deployments = decode_plan(event.payload)
            device.deployments = tuple(each[0] or "" for each in deployments)
        case Channel.ACK:
            _, code, detail = decode_ack(event.payload)
            if code != Code.ACCEPTED:
                device.errors.append(f"the gateway answered code {code}: {detail or 'no detail'}")


def _add_heartbeat(device: TrackedDevice, event: PublishEvent) -> None:
    heartbeat = decode_heartbeat(event.payload)
    device.heartbeats += 1
    device.payload_bytes += len(event.payload)
    device.packet_bytes += event.packet_bytes
    device.samples_sent += samples_of(heartbeat)
    device.have = heartbeat.have


def _add_call(device: TrackedDevice, event: CallEvent) -> None:
    if event.status != 200:
        device.errors.append(f"{event.operation} was answered {event.status}")
    elif event.operation == "SendHeartbeat":
        device.accepted += 1
        device.json_bytes += len(event.request)
        device.http_bytes += event.head_bytes + len(event.request)
        device.samples_accepted += event.samples
        result = event.request_json.get("DeploymentResult")
        if result:
            device.results[result.get("DeploymentName", "")] = result.get("DeploymentStatus", "")


def samples_of(heartbeat: Heartbeat) -> int:
    rows = [heartbeat.values, *[model.metrics for model in heartbeat.models if model is not None]]
    return sum(_count(samples) for row in rows for samples in row)


def _count(samples: Samples) -> int:
    return len(samples) // 2 if isinstance(samples, tuple) else int(samples is not None)


@dataclass(frozen=True, slots=True)
class MissingStep:
    """What has not happened, and the part that should have done it: "device" or "gateway"."""

    text: str
    part: str


def missing_step(device: TrackedDevice, deployment: str | None = None) -> MissingStep | None:
    """The first step that was not observed; None: all were. `deployment`: one that the device must carry out."""
    steps = [
        (device.hello is not None, MissingStep("it sent no hello", "device")),
        (device.heartbeats > 0, MissingStep("it sent no heartbeat", "device")),
        (device.accepted > 0, MissingStep("no SendHeartbeat for it was accepted", "gateway")),
    ]
    if deployment is not None:
        status = device.results.get(deployment)
        no_plan = f"no plan with {deployment} came on its topic"
        no_result = f"no DeploymentResult of {deployment} for it was accepted"
        steps += [
            (deployment in device.deployments, MissingStep(no_plan, "gateway")),
            (status in (None, "SUCCESS"), MissingStep(f"it reported that {deployment} ended with {status}", "device")),
            (status is not None, MissingStep(no_result, "device")),
            (device.have == device.digest, MissingStep("its heartbeats do not name the plan's digest", "device")),
        ]
    return next((step for happened, step in steps if not happened), None)


def differences(device: TrackedDevice, report: Mapping[str, Any], deployment: str) -> list[str]:
    """Where the manager's own `status` of a device differs from what was observed."""
    found = []
    if not device.all_samples_accepted:
        found.append(f"{device.samples_sent} samples were sent, accepted calls had {device.samples_accepted}")
    if report["accepted"] != device.accepted:
        counted = report["accepted"]
        found.append(f"{device.accepted} SendHeartbeat calls were answered 200, the manager counts {counted}")
    if (result := result_of(report, deployment)) != "SUCCESS":
        found.append(f"the manager's result of {deployment} is {result or 'missing'}")
    return found


def result_of(report: Mapping[str, Any], deployment: str) -> str:
    """DeploymentStatus in the manager's records; empty if there is none."""
    results = [each["result"] for each in report["results"] if each["deployment"] == deployment]
    return str(results[-1].get("DeploymentStatus", "")) if results else ""
