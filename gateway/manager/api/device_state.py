"""What is known of a device's being there, and what an accepted call changes of it. No I/O, no clock."""

from dataclasses import dataclass, replace

from gateway.manager.api.device_status import LatestValues
from gateway.manager.api.liveness import Announced, Liveness, State, due, judge


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """`accepted`: how many heartbeats; `newest`, `agent_version`: of the newest one, None before the first.

    `announced`: what the device or its broker said last, and `heartbeats`: how many were accepted before that.
    """

    agent_version: str | None = None
    accepted: int = 0
    newest: float | None = None
    announced: Announced | None = None
    heartbeats: int = 0

    @property
    def holds(self) -> Announced | None:
        """Whatever a device or its broker said: a heartbeat that came later means that the device is connected."""
        if self.announced is not None and self.accepted > self.heartbeats:
            return replace(self.announced, state=State.CONNECTED)
        return self.announced

    @property
    def due(self) -> float | None:
        """The time (Unix seconds) after which it is silent; None: nothing says it."""
        return due(self.holds, self.newest)

    def liveness(self, now: float) -> Liveness:
        return judge(self.holds, self.newest, now)

    def after(self, values: LatestValues, now: float) -> "DeviceRecord":
        """The state after a call that was accepted at `now`."""
        accepted, newest, agent_version = self.accepted, self.newest, self.agent_version
        if not values.only_liveness:
            accepted, newest, agent_version = accepted + 1, now, values.agent_version
        announced, heartbeats, before = values.liveness, accepted, self.announced
        if announced is None or (before is not None and announced.at < before.at):
            announced, heartbeats = before, self.heartbeats
        elif announced.seconds is None and before is not None:  # the seconds that were announced last hold
            announced = replace(announced, seconds=before.seconds)
        return DeviceRecord(agent_version, accepted, newest, announced, heartbeats)
