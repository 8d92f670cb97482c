"""What the core knows of hellos: layouts kept once, the last tags of each device, and whose hello is awaited.

A windowless part of the core: mailboxes and the time come in, facts and effects go out.
"""

from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary, ref

from gateway.core.device_state import PLAN_GRACE, TAGS_KEPT, UNKNOWN_KEPT, DeviceState, HelloWait
from gateway.core.effects import Effect, FetchRetainedHello
from gateway.protocol.messages import Device, Hello, HelloRecord, Layout


class HelloTracker:
    """`wait`: seconds after the broker's confirmation for which a heartbeat of an unknown tag waits."""

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._layouts: WeakKeyDictionary[Layout, ref[Layout]] = WeakKeyDictionary()
        self._awaited: dict[Device, DeviceState] = {}

    def __len__(self) -> int:
        return len(self._awaited)

    def shared(self, layout: Layout) -> Layout:
        """The one object of this layout, so that a fleet with one firmware keeps one."""
        known = self._layouts.get(layout)
        kept = known() if known is not None else None
        if kept is None:
            self._layouts[layout] = ref(layout)
            return layout
        return kept

    def learn(self, box: DeviceState, hello: Hello, implied: int | None = None) -> bool:
        """Make `hello` the device's newest; False where it already was, to the letter. `implied`: as HelloRecord's."""
        known = box.record(hello.tag)
        if known is not None and known is box.newest and known.hello == hello:
            return False
        layout = self.shared(hello.layout)
        hello = Hello(hello.tag, layout, hello.epoch, hello.max_payload, hello.flags)
        if known is not None and known.hello.layout is layout and known.hello.epoch in (None, hello.epoch):
            known.hello = hello  # what waits under the tag is dated by the epoch that was filled in
        else:
            known = HelloRecord(hello, implied)
        others = tuple(record for record in box.hellos if record.hello.tag != hello.tag)
        box.newest, box.older = known, others[1 - TAGS_KEPT :]
        return True

    def recall(self, box: DeviceState, records: Iterable[HelloRecord]) -> None:
        """What an earlier life remembered, newest last."""
        for record in records:
            self.learn(box, record.hello, record.implied)

    def ask(self, box: DeviceState) -> Iterator[Effect]:
        """Have the device's retained hello read, unless that is under way."""
        if box.hello_wait is None:
            box.hello_wait = HelloWait()
            self._awaited[box.device] = box
            yield FetchRetainedHello(box.device)

    def asked(self, box: DeviceState, now: float) -> None:
        """The broker confirmed the subscription that brings the device's hello."""
        if box.hello_wait is not None and box.hello_wait.confirmed is None:
            box.hello_wait.confirmed = now

    def ask_again(self) -> Iterator[Effect]:
        """A new connection: what the old one was asked may never come."""
        for box in list(self._awaited.values()):
            self.end(box)
            yield from self.ask(box) if box.waiting or box.check else ()

    def end(self, box: DeviceState) -> None:
        """Wait no longer."""
        box.hello_wait = None
        self._awaited.pop(box.device, None)

    def deadline(self) -> float | None:
        """When the first wait is over, on the monotonic clock; None where nothing is awaited or confirmed."""
        return min((due for box in self._awaited.values() if (due := self._due(box)) is not None), default=None)

    def overdue(self, now: float, pressed: bool = False) -> list[DeviceState]:
        """The mailboxes whose wait, or whose first part of it, is over. `pressed`: there is no second part."""
        boxes = self._awaited.values()
        return [box for box in boxes if (due := self._due(box, pressed)) is not None and due <= now]

    def _due(self, box: DeviceState, pressed: bool = False) -> float | None:
        confirmed = box.hello_wait.confirmed if box.hello_wait else None
        if confirmed is None:
            return None
        return confirmed + (min(self._wait, PLAN_GRACE) if pressed or not box.limits_known else self._wait)

    def too_many(self, box: DeviceState, now: float) -> bool:
        """Whether one heartbeat more of an unknown tag would be too many for one device.

        A backlog waits until the broker had time to answer, however long it is; then only a few wait for a late hello.
        """
        wait = box.hello_wait
        if wait is None or wait.confirmed is None or now < wait.confirmed + min(self._wait, PLAN_GRACE):
            return False
        return len(box.without_layout()) >= UNKNOWN_KEPT
