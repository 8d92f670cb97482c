"""Publishes acks, plans and dead letters (QoS 1) and tracks the broker's PUBACKs. Must never decide what is published.

A dead letter without a subscriber is appended to a file.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import structlog

from gateway.core import DeadLetter, DeleteRetained, PublishAck, PublishPlan
from gateway.errors import Code, StateError
from gateway.mqtt import FAILURE, NO_MATCHING_SUBSCRIBERS, Delivery, MqttSession, explain
from gateway.ops import Metrics
from gateway.protocol import Channel, Topics, encode_ack, topic_for_same_device
from gateway.storage import StateStore

LOGGED_A_SECOND = 50
"""Rejections in the log; the next event says how many more there were."""
RETAINED = (Channel.PLAN, Channel.HELLO, Channel.LIVE)
"""What the broker keeps for a device."""
REFUSALS_EVERY = 1.0
"""Seconds between two events that the broker does not take a publication, for the same reason."""

_log = structlog.get_logger()


@dataclass(slots=True)
class PublishBarrier:
    """Delays what follows in a list of effects until the broker, or the disk, has confirmed the `pending` ones."""

    pending: int = 0
    _actions: list[Callable[[], None]] = field(default_factory=list)

    def done(self) -> None:
        """One of them was confirmed."""
        self.pending -= 1
        if not self.pending:
            actions, self._actions = self._actions, []
            for action in actions:
                action()

    def when_done(self, action: Callable[[], None]) -> None:
        """Act now, or once nothing is pending."""
        if self.pending:
            self._actions.append(action)
        else:
            action()


class Publisher:
    """`unconfirmed` counts publications without PUBACK; `on_confirmed` is called at each PUBACK, and first, with the
    reason code, `on_plan_confirmed` at that of a plan."""

    def __init__(
        self,
        session: MqttSession,
        topics: Topics,
        store: StateStore,
        metrics: Metrics,
        on_confirmed: Callable[[], None],
        on_plan_confirmed: Callable[[PublishPlan, int], None],
    ) -> None:
        self._session, self._topics = session, topics
        self._store, self._metrics = store, metrics
        self._on_confirmed, self._on_plan_confirmed = on_confirmed, on_plan_confirmed
        self.unconfirmed = 0
        self._second, self._logged, self._not_logged = float("-inf"), 0, 0
        self._refusals_logged: dict[int, float] = {}
        self._refusals_not_logged: Counter[int] = Counter()

    def publish_ack(self, effect: PublishAck, barrier: PublishBarrier) -> None:
        """On the sender's own channel."""
        topic = topic_for_same_device(cast("Delivery", effect.delivery).topic, Channel.ACK)
        self._publish(barrier, topic, encode_ack(effect.ack, effect.max_payload))

    def publish_plan(self, effect: PublishPlan, barrier: PublishBarrier) -> None:
        """Retained."""
        self._metrics.plans_published.inc()

        topic = self._topics.format(effect.device, Channel.PLAN)
        self._publish(barrier, topic, effect.payload, partial(self._on_plan_confirmed, effect), retain=True)

    def delete_retained(self, effect: DeleteRetained, barrier: PublishBarrier) -> None:
        """An empty payload deletes what the broker keeps. The device itself published two of the three."""
        self._metrics.retained_deleted.inc()
        for channel in RETAINED:
            self._publish(barrier, self._topics.format(effect.device, channel), b"", retain=True)

    def dead_letter(self, effect: DeadLetter, barrier: PublishBarrier) -> None:
        """The rejected payload, byte for byte, with topic, code and reason as user properties.

        Also `size`, where the payload is cut, and `count`, where the letter stands for more than one message.
        """
        delivery, code, detail, count = cast("Delivery", effect.delivery), effect.code, effect.detail, effect.count
        self._metrics.rejected[code].inc(count)
        self._log_rejection(delivery.topic, code, detail)

        def on_reason(reason: int) -> None:
            if reason == NO_MATCHING_SUBSCRIBERS or reason >= FAILURE:
                self._append_to_file(delivery, code, detail, reason)

        properties = [("topic", delivery.topic), ("code", str(int(code))), ("reason", detail)]
        if delivery.size > len(delivery.payload):
            properties.append(("size", str(delivery.size)))
        if count > 1:
            properties.append(("count", str(count)))
        topic = topic_for_same_device(delivery.topic, Channel.DEAD)
        self._publish(barrier, topic, delivery.payload, on_reason, properties=properties)

    def _log_rejection(self, topic: str, code: Code, detail: str) -> None:
        """So many a second at most, whatever devices send."""
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._logged = now, 0
        self._logged += 1
        if self._logged > LOGGED_A_SECOND:
            self._not_logged += 1
            return
        more = {"not_logged": self._not_logged} if self._not_logged else {}
        event = "message rejected: error ack sent, payload published to the dead-letter topic"
        _log.warning(event, topic=topic, code=code, why=detail, **more)
        self._not_logged = 0

    def _log_refusal(self, topic: str, reason: int, size: int) -> None:
        """Each reason once in REFUSALS_EVERY."""
        now = time.monotonic()
        if now - self._refusals_logged.get(reason, float("-inf")) < REFUSALS_EVERY:
            self._refusals_not_logged[reason] += 1
            return
        self._refusals_logged[reason] = now
        more = {"not_logged": count} if (count := self._refusals_not_logged.pop(reason, 0)) else {}
        if not size:
            event = (
                "the broker keeps a message of a device that is not registered: a new device of its name gets it; "
                "allow the gateway to write it"
            )
            _log.error(event, topic=topic, reason=explain(reason), **more)
            return
        event = "the broker does not take a publication: its device does not get it"
        largest = self._session.limits.maximum_packet_size
        _log.error(event, topic=topic, reason=explain(reason), bytes=size, largest_packet=largest, **more)

    def _append_to_file(self, delivery: Delivery, code: Code, detail: str, reason: int) -> None:
        """No client received it on the topic `dead`: append it to the file; if that fails, log it."""
        self._metrics.dead_letters_kept.inc()
        try:
            file = self._store.save_dead_letter(delivery.topic, delivery.payload, code, detail, time.time())
        except StateError as error:
            _log.error(
                "dead letter not written to disk: its payload is in this event only",
                error=str(error),
                payload=delivery.payload.hex(),
            )
        else:
            why = "it has no subscriber" if reason == NO_MATCHING_SUBSCRIBERS else explain(reason)
            _log.warning("payload not delivered on the topic dead: saved to a file", file=str(file), reason=why)

    def _publish(
        self,
        barrier: PublishBarrier,
        topic: str,
        payload: bytes,
        on_reason: Callable[[int], None] | None = None,
        retain: bool = False,
        properties: Sequence[tuple[str, str]] = (),
    ) -> None:
        def confirmed(reason: int) -> None:
            if reason >= FAILURE:
                self._metrics.publications_refused.inc()
                self._log_refusal(topic, reason, len(payload))
            if on_reason is not None:
                on_reason(reason)
            self.unconfirmed -= 1
            barrier.done()
            self._on_confirmed()

        barrier.pending += 1
        self.unconfirmed += 1
        self._session.publish(topic, payload, confirmed, retain, properties)
