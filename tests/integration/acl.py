"""The clients of the ACL tests: a device, the gateway, the operator, as they connect to a broker of ours."""

from contextlib import AbstractContextManager

from paho.mqtt.enums import MQTTProtocolVersion

from gateway.demo.brokers.discovery import Broker
from tests.clients import Client, connected

MQTT_5 = MQTTProtocolVersion.MQTTv5


def device(broker: Broker, user: str, session: bool = False) -> AbstractContextManager[Client]:
    """Named `fleet/device`; MQTT 3.1.1. rumqttd refuses a client id with a slash, Mosquitto replaces whatever it is."""
    at = broker.address
    return connected(at.host, at.device_port, broker.add_user(user), user.replace("/", "."), session=session)


def gateway(broker: Broker, session: bool = False) -> AbstractContextManager[Client]:
    at = broker.address
    return connected(at.host, at.gateway_port, at.gateway, "edge-gateway", MQTT_5, session)


def operator(broker: Broker) -> AbstractContextManager[Client]:
    at = broker.address
    return connected(at.host, at.gateway_port, at.operator, "an-operator", MQTT_5)
