"""One device: what is known of it, what waits, and its one call in flight. Must never decide what follows."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias, cast

from gateway.core.effects import DeliveryToken
from gateway.core.merging import QueuedHeartbeat, drop_long, mergeable_count
from gateway.protocol import (
    NO_URLS,
    Call,
    Channel,
    Device,
    DeviceVersion,
    Get,
    HelloRecord,
    ModelFile,
    Plan,
    Read,
)

MAX_TOO_LARGE = 8
REPUBLISH_AFTER = 60.0
"""Seconds for which the same digest is not published again because of a `have`."""
SAME_VERSION_TTL = 3600.0
"""Seconds for which a plan is kept while the device's version stays: a restored database may reach a number again."""
NEVER = float("-inf")
NOT_YET = float("inf")


@dataclass(slots=True, eq=False)
class QueuedGet:
    """A deployment request that waits."""

    delivery: DeliveryToken
    get: Get

    @property
    def seq(self) -> int | None:
        return self.get.seq


QueuedMessage: TypeAlias = QueuedHeartbeat | QueuedGet


@dataclass(slots=True)
class PendingPlanCheck:
    """The plan that the device of a heartbeat has; `delivery` is where an error would be sent."""

    have: int
    delivery: DeliveryToken


@dataclass(slots=True)
class PendingRead:
    """A read of a plan that the gateway does not know: the service is asked once."""

    read: Read
    delivery: DeliveryToken


@dataclass(slots=True)
class InFlight:
    """The call in flight, and what waits for its outcome. `replaces_plan`: it is for DeviceState.replace_plan."""

    call: Call
    heartbeats: Sequence[QueuedHeartbeat] = ()
    gets: Sequence[QueuedGet] = ()
    plan_check: PendingPlanCheck | None = None
    read: PendingRead | None = None
    replaces_plan: bool = False

    @property
    def items(self) -> list[QueuedMessage]:
        """All messages that end with the outcome."""
        return [*self.heartbeats, *self.gets]


@dataclass(slots=True)
class PlanState:
    """The service's last plan and the one that was published last; times on the monotonic clock.

    `digest` None: the service did not answer. `too_large`: digests, the last few, for which the device got code 6.
    `refused`: digest of a plan that is not published again before a time, and why.
    `asked_for_read`: when the service last answered because of a read. `readable`: the digest to which `files` belong.
    `version`: DeviceState.version when the service was asked.
    """

    digest: int | None = None
    asked: float = NEVER
    version: DeviceVersion | None = None
    published: int | None = None
    published_at: float = NEVER
    too_large: tuple[int, ...] = ()
    refused: tuple[int, float, str] | None = None
    asked_for_read: float = NEVER
    readable: int | None = None
    files: tuple[ModelFile | None, ...] = ()

    def must_ask(self, have: int, now: float, ttl: float, version: DeviceVersion | None) -> bool:
        """Whether the service must be asked for the plan of a device that holds `have`, and now has that version.

        An answer is kept for `ttl` seconds; with versions until there is another one, an hour at most.
        """
        if version is not None:
            if version != self.version:
                return True
            if self.digest is not None:
                ttl = max(ttl, SAME_VERSION_TTL)
        if now - self.asked >= ttl:
            return True
        if self.digest is None or self.digest == have or self.digest in self.too_large:
            return False
        return not self.just_published(self.digest, now)

    def note_too_large(self, digest: int) -> bool:
        """Remember that a plan does not fit; False where that was known."""
        if digest in self.too_large:
            return False
        self.too_large = (*self.too_large, digest)[-MAX_TOO_LARGE:]
        return True

    def just_published(self, digest: int, now: float) -> bool:
        """Whether `digest` was published so lately that a `have` does not publish it again."""
        return digest == self.published and now - self.published_at < REPUBLISH_AFTER


@dataclass(slots=True)
class DeviceState:
    """An idle device costs this object and its hellos; the rest is made when needed and dropped afterwards.

    `split_remaining`: so many heartbeats are sent one by one, after a merged call was rejected. `retry_batch_size`: the
    next call retries one of so many heartbeats. `backing_off`: no call before `Engine.retry_due`. `queued_for_slot`:
    CallScheduler has it in its queue. `hello_suback`: when the SUBACK for the hello that it awaits came, on the
    monotonic clock; NOT_YET before, None where no hello is awaited.

    `registered_at`: when the service last said that it is registered, on the monotonic clock, and `registered_ttl` for
    how long. `ask_again_at`: when the service may be asked before `unregistered_until`. `since`: as Registration.
    `version`: of its last accepted heartbeat; None: the service does not say it.
    `replace_plan`: the broker has the plan of an earlier device of that name. `ended`: the broker has nothing of it,
    since it is not registered, and nothing came of it since.
    """

    device: Device
    newest: HelloRecord | None = None
    older: tuple[HelloRecord, ...] = ()
    hello_absent: bool = False
    registered_until: float = NEVER
    unregistered_until: float = NEVER
    ask_again_at: float = NOT_YET
    registered_at: float = NEVER
    registered_ttl: float = 0.0
    since: float | None = None
    version: DeviceVersion | None = None
    replace_plan: bool = False
    ended: bool = False
    plan: PlanState | None = None
    waiting: deque[QueuedMessage] | None = None
    in_flight: InFlight | None = None
    split_remaining: int = 0
    retry_batch_size: int = 0
    backing_off: bool = False
    queued_for_slot: bool = False
    plan_check: PendingPlanCheck | None = None
    read: PendingRead | None = None
    hello_suback: float | None = None

    @property
    def max_payload(self) -> int | None:
        """The newest hello's, in bytes; None where no limit is known."""
        return None if self.newest is None else self.newest.hello.max_payload

    @property
    def hellos(self) -> tuple[HelloRecord, ...]:
        """Of the last few tags, the newest last."""
        return () if self.newest is None else (*self.older, self.newest)

    @property
    def limits_known(self) -> bool:
        """Whether a plan may be published: the hello is known, or the broker has none."""
        return self.newest is not None or self.hello_absent

    def record(self, tag: int) -> HelloRecord | None:
        """The hello of a tag, if it is one of the last few."""
        if self.newest is not None and self.newest.hello.tag == tag:
            return self.newest
        return next((record for record in self.older if record.hello.tag == tag), None)

    def follow_clock(self, clock: float, step: int) -> None:
        """As QueuedHeartbeat.follow_clock, for all that waits or is in flight, and for the hellos."""
        for record in self.hellos:
            record.follow_clock(clock)
        in_flight = self.in_flight.heartbeats if self.in_flight is not None else ()
        for item in (*(self.waiting or ()), *in_flight):
            if isinstance(item, QueuedHeartbeat):
                item.follow_clock(clock, step)

    def enqueue(self, item: QueuedMessage) -> None:
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(item)

    def replace_waiting(self, items: Iterable[QueuedMessage]) -> None:
        """Let only `items` wait."""
        self.waiting = deque(items) or None

    def take_batch(self, most: int, most_bytes: int) -> list[QueuedHeartbeat]:
        """The heartbeats of the next call with their content: the head of what waits, up to one without a layout."""
        waiting: deque[QueuedMessage] = self.waiting or deque()
        if len(waiting) == 1:  # the usual case
            return self._take_only(waiting.popleft())
        head = self._head_with_content(most, most_bytes)
        if self.retry_batch_size:
            batch = list(head)
        else:
            count = mergeable_count(head, most, most_bytes)
            batch = cast("list[QueuedHeartbeat]", list(islice(waiting, count)))
        self.retry_batch_size = 0
        for _ in batch:
            waiting.popleft()
        if waiting and isinstance(waiting[0], QueuedHeartbeat):
            drop_long([waiting[0]])  # its content was needed to see that it does not fit
        self.waiting = waiting or None
        return batch

    def _take_only(self, item: QueuedMessage) -> list[QueuedHeartbeat]:
        """The batch of the only message that waits: a heartbeat with a layout."""
        assert isinstance(item, QueuedHeartbeat)
        self.waiting, self.retry_batch_size = None, 0
        if item.dropped:
            item.restore_content()
        return [item]

    def _head_with_content(self, most: int, most_bytes: int) -> Iterator[QueuedHeartbeat]:
        """What take_batch may take. Each is decoded when it is asked for."""
        size = 0
        for item in islice(self.waiting or (), self.retry_batch_size or (1 if self.split_remaining else most)):
            if not isinstance(item, QueuedHeartbeat) or item.layout is None:
                return
            before, size = size, size + len(item.delivery.payload)
            if before and size > most_bytes:  # its JSON is longer than that
                return
            if item.dropped:
                item.restore_content()
            yield item

    def take_gets(self) -> list[QueuedGet]:
        """The requests at the head of what waits, in order: one answer is for all of them."""
        gets: list[QueuedGet] = []
        while self.waiting and isinstance(self.waiting[0], QueuedGet):
            gets.append(self.waiting[0])
            self.waiting.popleft()
        self.waiting = self.waiting or None
        return gets

    def take_all(self) -> list[QueuedMessage]:
        items, self.waiting, self.split_remaining, self.retry_batch_size = list(self.waiting or ()), None, 0, 0
        return items

    def requeue(self, items: list[QueuedMessage], redelivered: range) -> list[QueuedMessage]:
        """Put items back to the head of what waits; not those of connections in `redelivered`, which are returned."""
        kept = [item for item in items if item.delivery.connection not in redelivered]
        dropped = [item for item in items if item.delivery.connection in redelivered]
        self.split_remaining = max(0, self.split_remaining - len(dropped))
        self.retry_batch_size = max(0, self.retry_batch_size - len(dropped))
        self.replace_waiting([*kept, *(self.waiting or ())])
        return dropped

    def awaiting_hello(self) -> list[QueuedHeartbeat]:
        """The heartbeats that wait for the hello of their tag."""
        return [item for item in self.waiting or () if isinstance(item, QueuedHeartbeat) and item.layout is None]

    def plan_payload(self, plan: Plan) -> bytes:
        """The payload of `plan` that the device's flags want."""
        without_urls = self.newest is not None and self.newest.hello.flags & NO_URLS
        return plan.payload_without_urls if without_urls else plan.payload

    def payload_room(self, channel: Channel, room: int) -> int:
        """Bytes that the payload of a publication to this device may have; `room` as Engine.set_room."""
        return room - len(f"{self.device.fleet}/{self.device.name}/{channel}")
