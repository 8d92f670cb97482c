"""Connections to the broker: topics and bytes in and out, acknowledgements. Independent of the messages."""

from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.dropped_count import DroppedCount
from gateway.mqtt.limits import BrokerLimits, Restriction, Wanted, restrictions
from gateway.mqtt.packets import FAILURE, NO_MATCHING_SUBSCRIBERS, Publish
from gateway.mqtt.probe import MQTT_3_1_1, MQTT_5, connack_code, speaks_mqtt
from gateway.mqtt.probe_client import ProbeClient
from gateway.mqtt.reasons import CLOSED, explain
from gateway.mqtt.session import Delivery, MqttSession
from gateway.mqtt.session_loss import FOR_EVER, SessionLoss, SessionRecord, find_loss
from gateway.mqtt.topic_reader import TopicReader
