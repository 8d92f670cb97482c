"""One device's mailbox: what is known of the device, what waits, and the one call in flight.

State and the questions that it can answer alone; what follows from the answers, core.py decides.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from gateway.core.effects import DeliveryToken
from gateway.core.merging import QueuedHeartbeat, mergeable
from gateway.protocol.messages import NO_URLS, Device, Get, Hello, HelloRecord, ModelFile, Plan, Read
from gateway.protocol.service_calls import Call

TOO_LARGE_KEPT = 8
TAGS_KEPT = 4
"""So many tags of a device are remembered, so that what waited under an older one is still understood."""
REPUBLISH_AFTER = 60.0
"""Seconds for which the same digest is not published again because of a `have`."""
PLAN_GRACE = 0.5
"""Seconds after the broker's confirmation for which a plan waits for a hello that could limit it: a retained one is
there by then."""
UNKNOWN_KEPT = 16
"""Heartbeats of unknown tags that wait for a device's late hello; more are answered with code 2 at once."""
NEVER = float("-inf")


@dataclass(slots=True, eq=False)
class QueuedGet:
    """A deployment request in its mailbox."""

    ticket: DeliveryToken
    get: Get


Queued: TypeAlias = QueuedHeartbeat | QueuedGet


@dataclass(slots=True)
class HelloWait:
    """The device's retained hello was asked for. `confirmed`: when the broker said so, on the monotonic clock."""

    confirmed: float | None = None


@dataclass(slots=True)
class PendingPlanCheck:
    """A heartbeat said which plan it has; `ticket` is where an error would be sent."""

    have: int
    ticket: DeliveryToken


@dataclass(slots=True)
class PendingRead:
    """A read of a plan that the gateway does not know: the service is asked once."""

    read: Read
    ticket: DeliveryToken


@dataclass(slots=True)
class InFlight:
    """The call that the device waits for, and what it will settle."""

    call: Call
    heartbeats: list[QueuedHeartbeat] = field(default_factory=list)
    gets: list[QueuedGet] = field(default_factory=list)
    check: PendingPlanCheck | None = None
    read: PendingRead | None = None

    @property
    def items(self) -> list[Queued]:
        """All that is settled with the outcome."""
        return [*self.heartbeats, *self.gets]


@dataclass(slots=True)
class PlanState:
    """What the service last answered and what was last published; times on the monotonic clock.

    `too_large`: the digests, the last few, of which the device knows that they do not fit. `sought`: when the service
    last answered for a read's sake. `readable`: the digest of the plan whose `files` may be read.
    """

    digest: int | None = None
    asked: float = NEVER
    published: int | None = None
    published_at: float = NEVER
    too_large: tuple[int, ...] = ()
    sought: float = NEVER
    readable: int | None = None
    files: tuple[ModelFile | None, ...] = ()

    def must_ask(self, have: int, now: float, ttl: float) -> bool:
        """Whether a device that holds `have` makes the service be asked."""
        if now - self.asked >= ttl:
            return True
        if self.digest is None or self.digest == have or self.digest in self.too_large:
            return False
        return not self.just_published(self.digest, now)

    def does_not_fit(self, digest: int) -> bool:
        """Keep that; whether it is news."""
        if digest in self.too_large:
            return False
        self.too_large = (*self.too_large, digest)[-TOO_LARGE_KEPT:]
        return True

    def just_published(self, digest: int, now: float) -> bool:
        """Whether `digest` went out so lately that a `have` does not make it go out again."""
        return digest == self.published and now - self.published_at < REPUBLISH_AFTER


@dataclass(slots=True)
class DeviceState:
    """A quiet device costs this object and its hellos; the rest is made when it is needed and dropped afterwards.

    `singly`: so many heartbeats go one by one. `again`: so many make just the call that failed. `held`: no call before
    `Core.again`. `in_line`: it waits for its turn.
    """

    device: Device
    newest: HelloRecord | None = None
    older: tuple[HelloRecord, ...] = ()
    hello_absent: bool = False
    registered_until: float = NEVER
    unregistered_until: float = NEVER
    plan: PlanState | None = None
    waiting: deque[Queued] | None = None
    in_flight: InFlight | None = None
    singly: int = 0
    again: int = 0
    held: bool = False
    in_line: bool = False
    check: PendingPlanCheck | None = None
    read: PendingRead | None = None
    hello_wait: HelloWait | None = None

    @property
    def hellos(self) -> tuple[HelloRecord, ...]:
        """Of the last few tags, the newest last."""
        return () if self.newest is None else (*self.older, self.newest)

    @property
    def hello(self) -> Hello | None:
        """The newest hello: its limits are the device's."""
        return None if self.newest is None else self.newest.hello

    @property
    def max_payload(self) -> int | None:
        """In bytes; None where none is known."""
        return None if self.newest is None else self.newest.hello.max_payload

    @property
    def limits_known(self) -> bool:
        """Whether a plan may be made: the hello is known, or the broker was asked and has none."""
        return self.newest is not None or self.hello_absent

    def record(self, tag: int) -> HelloRecord | None:
        """The hello of a tag, if it is one of the last few."""
        for record in reversed(self.hellos):
            if record.hello.tag == tag:
                return record
        return None

    @property
    def busy(self) -> bool:
        """Whether there is anything to call for."""
        return bool(self.waiting) or self.check is not None or self.read is not None

    def put(self, item: Queued) -> None:
        """Append to what waits."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(item)

    def keep(self, items: Sequence[Queued]) -> None:
        """Let just `items` wait."""
        self.waiting = deque(items) if items else None

    def leading_heartbeats(self, most: int) -> list[QueuedHeartbeat]:
        """Those at the head whose layout is known, in order."""
        found: list[QueuedHeartbeat] = []
        for item in islice(self.waiting or (), most):
            if not isinstance(item, QueuedHeartbeat) or item.layout is None:
                break
            found.append(item)
        return found

    def batch(self, most: int, most_bytes: int) -> list[QueuedHeartbeat]:
        """What makes the next call, taken out of what waits."""
        found = self.leading_heartbeats(self.again or (1 if self.singly else most))
        if not self.again:
            found = found[: mergeable(found, most, most_bytes)]
        self.again = 0
        self.drop(len(found))
        return found

    def back(self, items: list[Queued], repeated: range) -> list[Queued]:
        """To the head of what waits, but for those of connections in `repeated`, which are the result."""
        kept = [item for item in items if item.ticket.connection not in repeated]
        again = [item for item in items if item.ticket.connection in repeated]
        self.singly, self.again = max(0, self.singly - len(again)), max(0, self.again - len(again))
        self.keep([*kept, *(self.waiting or ())])
        return again

    def leading_gets(self) -> list[QueuedGet]:
        """Those at the head, in order: one answer serves them all."""
        found: list[QueuedGet] = []
        for item in self.waiting or ():
            if not isinstance(item, QueuedGet):
                break
            found.append(item)
        return found

    def drop(self, count: int) -> None:
        """Remove the first `count` of what waits."""
        self.keep(list(islice(self.waiting or (), count, None)))

    def empty(self) -> list[Queued]:
        """Take out all that waits."""
        items, self.waiting, self.singly, self.again = list(self.waiting or ()), None, 0, 0
        return items

    def without_layout(self) -> list[QueuedHeartbeat]:
        """The heartbeats that wait for the hello of their tag."""
        return [item for item in self.waiting or () if isinstance(item, QueuedHeartbeat) and item.layout is None]

    def understood(self) -> list[Queued]:
        """All the others that wait."""
        return [item for item in self.waiting or () if not isinstance(item, QueuedHeartbeat) or item.layout is not None]

    def fitting(self, plan: Plan) -> bytes | None:
        """The payload of `plan` that the device asked for by its flags; None where it exceeds max_payload."""
        hello = self.hello
        if hello is None:
            return plan.payload
        payload = plan.bare if hello.flags & NO_URLS else plan.payload
        return None if hello.max_payload is not None and len(payload) > hello.max_payload else payload
