"""What the broker grants with CONNACK (MQTT 5, 3.2.2.3), what that stops, and how it is kept. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

NO_PACKET_LIMIT = 1 + 4 + 268_435_455
"""Bytes of the largest packet of MQTT 5: type, length, and what the length can count (2.1.4)."""
MAX_NAME = 63
"""Characters of the name of a fleet or device."""
FILTER_BYTES = 3
"""Of a SUBSCRIBE, beside the text of each filter: its length and its options (3.8.3)."""
SUBSCRIBE_BYTES = 1 + 4 + 2 + 1
"""Of a SUBSCRIBE without its filters, at most: type, length, packet id, no properties."""


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Of one connection. The defaults are MQTT 5's, or what was asked for. Sizes in bytes, times in seconds.

    `keepalive` and `session_expiry` are in use, whoever chose them. We send no topic alias and no subscription
    identifier, so nothing follows from those.
    """

    keepalive: int = 0xFFFF
    session_expiry: int = 0xFFFF_FFFF
    receive_maximum: int = 0xFFFF
    maximum_qos: int = 2
    retain: bool = True
    maximum_packet_size: int = NO_PACKET_LIMIT
    topic_alias_maximum: int = 0
    wildcards: bool = True
    subscription_ids: bool = True
    shared: bool = True

    @classmethod
    def from_connack(cls, properties: Mapping[str, Any], keepalive: int, session_expiry: int) -> Self:
        """`properties` by their names in MQTT 5 without spaces; then what CONNECT asked for.

        A keep alive above ours, or none, leaves ours: who sends more often keeps to it, and we also find a dead broker
        by it. A Receive Maximum or Maximum Packet Size of 0, which MQTT forbids, counts as absent.
        """
        return cls(
            keepalive=min(keepalive, properties.get("ServerKeepAlive") or keepalive),
            session_expiry=properties.get("SessionExpiryInterval", session_expiry),
            receive_maximum=properties.get("ReceiveMaximum") or 0xFFFF,
            maximum_qos=properties.get("MaximumQoS", 2),
            retain=properties.get("RetainAvailable") != 0,
            maximum_packet_size=properties.get("MaximumPacketSize") or NO_PACKET_LIMIT,
            topic_alias_maximum=properties.get("TopicAliasMaximum", 0),
            wildcards=properties.get("WildcardSubscriptionAvailable") != 0,
            subscription_ids=properties.get("SubscriptionIdentifierAvailable") != 0,
            shared=properties.get("SharedSubscriptionAvailable") != 0,
        )

    @property
    def publication_room(self) -> int:
        """Bytes that topic and payload may have together, in a PUBLISH of QoS 1 without properties (3.3)."""
        packet = self.maximum_packet_size
        body = max(min(packet - 1 - digits, (1 << 7 * digits) - 1) for digits in range(1, 5))
        return body - 2 - 2 - 1

    def batches(self, filters: Sequence[str]) -> Iterator[slice]:
        """Parts of `filters`, each of which fits a SUBSCRIBE (or the smaller UNSUBSCRIBE)."""
        start, size = 0, SUBSCRIBE_BYTES
        for index, each in enumerate(filters):
            more = FILTER_BYTES + len(each.encode())
            if index > start and size + more > self.maximum_packet_size:
                yield slice(start, index)
                start, size = index, SUBSCRIBE_BYTES
            size += more
        yield slice(start, len(filters))


class Wanted(NamedTuple):
    """What the gateway wants of the broker, by its settings. Sizes in bytes, times in seconds."""

    root: str
    max_payload: int
    session_expiry: int
    shared: bool


class Restriction(NamedTuple):
    """Something that a limit of the broker stops. `fatal`: the gateway cannot keep its promises."""

    text: str
    todo: str
    fatal: bool = False


def restrictions(limits: BrokerLimits, wanted: Wanted) -> Iterable[Restriction]:
    """What `limits` stop of what the gateway does, and what the operator can do."""
    if not limits.wildcards:
        yield Restriction(
            "no subscription with a wildcard: the gateway cannot subscribe to its devices",
            "allow wildcard subscriptions at the broker",
            fatal=True,
        )
    if wanted.shared and not limits.shared:
        yield Restriction(
            "no shared subscription: the gateway cannot join its group",
            "share the work by fleets instead of group",
            fatal=True,
        )
    if not limits.maximum_qos:
        yield Restriction(
            "QoS 0 only: heartbeats, acks and plans can be lost, and none waits for a gateway that is away",
            "allow QoS 1 at the broker (max_qos)",
            fatal=True,
        )
    if not limits.retain:
        yield Restriction(
            "no retained messages: no hello is kept, and a device that is away when its plan comes misses it until it"
            " sends the next heartbeat",
            "allow retained messages at the broker (retain_available)",
        )
    needed = wanted.max_payload + len(wanted.root.encode()) + len("//") + 2 * MAX_NAME + len("/hello")
    if limits.publication_room < needed:
        yield Restriction(
            f"packets of {limits.maximum_packet_size:,} bytes at most, and max_payload is {wanted.max_payload:,}:"
            " the broker drops larger messages of devices without an answer, and larger plans and blocks are not sent",
            "raise the broker's largest packet (max_packet_size), or lower max_payload",
        )
    if limits.session_expiry < wanted.session_expiry:
        yield Restriction(
            f"the session is kept for {limits.session_expiry:,} s at most, and session_expiry asks for"
            f" {wanted.session_expiry:,}: a gateway that is away for longer loses messages",
            "raise the broker's limit above the longest outage that must lose nothing",
        )
