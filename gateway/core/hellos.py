"""Hellos: each layout kept once, the last tags of a device, and the devices whose retained hello is awaited."""

from collections.abc import Iterable
from itertools import islice
from weakref import WeakKeyDictionary, ref

from gateway.core.device_state import NOT_YET, DeviceState
from gateway.core.effects import Effects, FetchRetainedHello
from gateway.protocol import Device, Hello, HelloRecord, Layout

MAX_TAGS = 4
"""Tags of a device that are kept, so that what was sent under an older one is still understood."""
RETAINED_WAIT = 0.5
"""Seconds after the SUBACK in which a retained hello arrives. So long a plan waits for the limits of its device."""
ABSENT_FOR = 60.0
"""Seconds for which nothing waits again for a hello that was awaited in vain: the gateway's subscription brings it.
Then the broker is asked again: it may have dropped there what it retains, or the hello was over its device's rate."""
MAX_UNKNOWN = 16
"""Heartbeats of a device that wait for a hello that is not retained; more are rejected with code 2 at once."""


class HelloTracker:
    """`wait`: seconds after the SUBACK for which a heartbeat of an unknown tag waits."""

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._retained_wait = min(wait, RETAINED_WAIT)
        self._layouts: WeakKeyDictionary[Layout, ref[Layout]] = WeakKeyDictionary()
        self._awaited: dict[Device, DeviceState] = {}
        self._absent: dict[Device, dict[int, float]] = {}  # tag -> until when

    def __len__(self) -> int:
        return len(self._awaited)

    def intern_layout(self, layout: Layout) -> Layout:
        """The one object of this layout, so that a fleet with one firmware keeps one."""
        known = self._layouts.get(layout)
        kept = known() if known is not None else None
        if kept is None:
            self._layouts[layout] = ref(layout)
            return layout
        return kept

    def learn(
        self, state: DeviceState, hello: Hello, inferred_epoch: int | None = None, clock: float | None = None
    ) -> bool:
        """Make `hello` the device's newest; False where it already was, without a difference."""
        known = state.record(hello.tag)
        if known is not None and known is state.newest and known.hello == hello:
            return False
        layout = self.intern_layout(hello.layout)
        hello = Hello(hello.tag, layout, hello.epoch, hello.max_payload, hello.flags)
        if known is not None and known.hello.layout is layout and known.hello.epoch in (None, hello.epoch):
            known.replace_hello(hello)  # what waits under the tag is dated by the epoch that was filled in
        else:
            known = HelloRecord(hello, inferred_epoch, clock)
        others = tuple(record for record in state.hellos if record.hello.tag != hello.tag)
        state.newest, state.older = known, others[1 - MAX_TAGS :]
        return True

    def restore(self, state: DeviceState, records: Iterable[HelloRecord]) -> None:
        """What an earlier run saved, newest last."""
        for record in records:
            self.learn(state, record.hello, record.inferred_epoch, record.clock)

    def request(self, effects: Effects, state: DeviceState) -> None:
        """Fetch the device's retained hello, unless it is awaited already."""
        if state.hello_suback is None:
            state.hello_suback = NOT_YET
            self._awaited[state.device] = state
            effects.append(FetchRetainedHello(state.device))

    def lookup_started(self, state: DeviceState, now: float) -> None:
        """The SUBACK came: the wait counts from here."""
        if state.hello_suback == NOT_YET:
            state.hello_suback = now

    def request_again(self, effects: Effects) -> None:
        """After a reconnect: the answers to earlier subscriptions may be lost, and hellos that came meanwhile."""
        self._absent.clear()
        for state in list(self._awaited.values()):
            self.end_wait(state)
            if state.waiting or state.plan_check:
                self.request(effects, state)

    def end_wait(self, state: DeviceState) -> None:
        state.hello_suback = None
        self._awaited.pop(state.device, None)

    def deadline(self) -> float | None:
        """When the first wait ends, on the monotonic clock; None where no SUBACK has come."""
        return min((due for state in self._awaited.values() if (due := self._due(state)) < NOT_YET), default=None)

    def overdue(self, now: float, under_pressure: bool = False) -> list[DeviceState]:
        """The devices whose wait has ended, or its first part. `under_pressure`: none waits for a late hello."""
        return [state for state in self._awaited.values() if self._due(state, under_pressure) <= now]

    def _due(self, state: DeviceState, under_pressure: bool = False) -> float:
        wait = self._retained_wait if under_pressure or not state.limits_known else self._wait
        return NOT_YET if state.hello_suback is None else state.hello_suback + wait

    def note_absent(self, device: Device, tags: Iterable[int], now: float) -> None:
        """A wait for the hellos of these tags was in vain."""
        absent = self._absent_tags(device, now) | dict.fromkeys(tags, now + ABSENT_FOR)
        self._absent[device] = dict(islice(absent.items(), MAX_TAGS))

    def is_absent(self, device: Device, tag: int, now: float) -> bool:
        """Whether a wait for this tag, or for MAX_TAGS others of the device, was in vain lately."""
        tags = self._absent_tags(device, now)
        return tag in tags or len(tags) == MAX_TAGS

    def _absent_tags(self, device: Device, now: float) -> dict[int, float]:
        return {tag: until for tag, until in self._absent.get(device, {}).items() if now < until}

    def over_unknown_limit(self, state: DeviceState, now: float) -> bool:
        """Whether one heartbeat more of an unknown tag would be too many for this device.

        A backlog waits, however long it is, until a retained hello would be here; then only a few wait for a late one.
        """
        if state.hello_suback is None or now < state.hello_suback + self._retained_wait:
            return False
        return len(state.awaiting_hello()) >= MAX_UNKNOWN
