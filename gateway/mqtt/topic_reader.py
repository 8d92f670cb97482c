"""An MQTT client that only reads: plain subscriptions of QoS 0 without a session. It takes nothing from others.

It must never publish, nor use the gateway's client id.
"""

from collections.abc import Callable, Sequence

from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError
from gateway.mqtt import reasons
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from gateway.mqtt.packets import FAILURE, Publish

_QOS_0 = SubscribeOptions(qos=0)
_QOS_0_NEW_ONLY = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)


class TopicReader:
    """Can be opened many times. `on_message` must not raise.

    `retained_filters`: their retained messages come too, before the messages of `filters`.
    """

    def __init__(
        self,
        endpoint: BrokerEndpoint,
        retained_filters: Sequence[str],
        filters: Sequence[str],
        on_message: Callable[[Publish], None],
    ) -> None:
        if endpoint.session_expiry:
            raise ValueError("a session would keep messages at the broker")
        self._subscriptions = [(each, _QOS_0) for each in retained_filters]
        self._subscriptions += [(each, _QOS_0_NEW_ONLY) for each in filters]
        self._connection = BrokerConnection(endpoint, on_message)
        self.close = self._connection.close

    async def open(self) -> None:
        """Connect and subscribe. Raises BrokerError where the broker cannot be reached or refuses."""
        await self._connection.open()
        for topic_filter, options in self._subscriptions:
            (reason,) = await self._connection.subscribe([(topic_filter, options)])
            if reason.value >= FAILURE:
                raise BrokerError(f"the broker refuses to show {topic_filter}: {reasons.explain(reason.value)}")

    async def wait_disconnected(self) -> str:
        """Why the connection ended."""
        await self._connection.disconnected.wait()
        return self._connection.disconnect_reason
