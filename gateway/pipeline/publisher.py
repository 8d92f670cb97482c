"""What leaves by the street door: acks, plans and refused payloads, addressed, each confirmed by the broker.

Decides nothing; a payload that nobody takes on `dead` is kept in a file.
"""

import time
from collections.abc import Callable
from typing import cast

import structlog

from gateway.core.effects import DeadLetter, PublishAck, PublishPlan
from gateway.errors import Code, StateError
from gateway.mqtt.packets import FAILURE, NO_MATCHING_SUBSCRIBERS
from gateway.mqtt.session import Delivery, MqttSession
from gateway.ops.metrics import Metrics
from gateway.pipeline.confirmations import PublishBarrier
from gateway.protocol import codec
from gateway.protocol.topics import Channel, Topics, sibling
from gateway.storage.state_store import StateStore

LINES = 50
"""Refusals that the log tells of in a second; the next line says how many more there were."""

_log = structlog.get_logger()


class Publisher:
    """`under_way` counts what the broker has not confirmed; `confirmed` is called whenever one of them is."""

    def __init__(
        self, broker: MqttSession, topics: Topics, store: StateStore, metrics: Metrics, confirmed: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._store = store
        self._metrics = metrics
        self._told = confirmed
        self.under_way = 0
        self._second, self._lines, self._untold = float("-inf"), 0, 0

    def reply(self, effect: PublishAck, confirmations: PublishBarrier) -> None:
        """An ack, on the sender's own channel."""
        topic = sibling(cast("Delivery", effect.ticket).topic, Channel.ACK)
        self._publish(confirmations, topic, codec.ack(effect.ack, effect.max_payload), self._refused(topic))

    def plan(self, effect: PublishPlan, confirmations: PublishBarrier) -> None:
        """A plan, retained."""
        self._metrics.plans_published.inc()
        topic = self._topics.format(effect.device, Channel.PLAN)
        self._publish(confirmations, topic, effect.payload, self._refused(topic), retain=True)

    def bury(self, effect: DeadLetter, confirmations: PublishBarrier) -> None:
        """A refused payload, byte for byte; why it was refused stands in its user properties."""
        delivery, code, detail = cast("Delivery", effect.ticket), effect.code, effect.detail
        self._metrics.rejected[code].inc()
        self._tell(delivery.topic, code, detail)

        def then(reason: int) -> None:
            if reason == NO_MATCHING_SUBSCRIBERS or reason >= FAILURE:
                self._keep(delivery, code, detail, reason)

        properties = (("topic", delivery.topic), ("code", str(int(code))), ("reason", detail))
        topic = sibling(delivery.topic, Channel.DEAD)
        self._publish(confirmations, topic, delivery.payload, then, properties=properties)

    def _tell(self, topic: str, code: Code, detail: str) -> None:
        """A flood of refusals must not become a flood of lines."""
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._lines = now, 0
        self._lines += 1
        if self._lines > LINES:
            self._untold += 1
            return
        untold = {"untold": self._untold} if self._untold else {}
        _log.warning(
            "refused: the device was told, the payload stands on dead", topic=topic, code=code, why=detail, **untold
        )
        self._untold = 0

    def _keep(self, delivery: Delivery, code: Code, detail: str, reason: int) -> None:
        """`dead` did not take it: a file does, and the log where even that fails."""
        self._metrics.dead_letters_kept.inc()
        try:
            file = self._store.bury(delivery.topic, delivery.payload, code, detail, time.time())
        except StateError as error:
            _log.error("a refused payload is kept in this line alone", error=str(error), payload=delivery.payload.hex())
        else:
            _log.warning("nobody subscribes to dead: the payload is kept in a file", file=str(file), reason=reason)

    def _refused(self, topic: str) -> Callable[[int], None]:
        def then(reason: int) -> None:
            if reason >= FAILURE:
                mend = "the broker refuses a publication: its ACL must let the gateway write it"
                _log.error(mend, topic=topic, reason=reason)

        return then

    def _publish(
        self,
        confirmations: PublishBarrier,
        topic: str,
        payload: bytes,
        then: Callable[[int], None],
        retain: bool = False,
        properties: tuple[tuple[str, str], ...] = (),
    ) -> None:
        def confirmed(reason: int) -> None:
            then(reason)
            self.under_way -= 1
            confirmations.came()
            self._told()

        confirmations.expect()
        self.under_way += 1
        self._broker.publish(topic, payload, confirmed, retain, properties)
