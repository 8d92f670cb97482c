"""MQTT clients of a broker of ours: a device, the gateway, the operator."""

from contextlib import AbstractContextManager

from paho.mqtt.enums import MQTTProtocolVersion

from gateway.demo.brokers.discovery import Broker
from tests.support.mqtt_client import Client, connected

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


def check_messages_pass(broker: Broker, fleet: str) -> None:
    """From a device to the gateway, and back."""
    heartbeat, ack = f"edge/{fleet}/a/hb", f"edge/{fleet}/a/ack"
    with gateway(broker) as gateway_client, device(broker, f"{fleet}/a") as a:
        gateway_client.subscribe(f"edge/{fleet}/+/hb")
        a.subscribe(ack)
        a.publish(heartbeat, b"up")
        assert gateway_client.next() == (heartbeat, b"up")
        gateway_client.publish(ack, b"down")
        assert a.next() == (ack, b"down")
