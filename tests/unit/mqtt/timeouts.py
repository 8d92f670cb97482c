"""A timeout that a test wants short where nothing comes, and long where something must come. No test of its own."""

from dataclasses import replace

from gateway.mqtt.connection import BrokerConnection


def set_timeout(connection: BrokerConnection, seconds: float) -> None:
    """From its next wait on."""
    connection._endpoint = replace(connection._endpoint, timeout=seconds)
