"""The broker that the session's tests share, whichever it is, and how the URL of an external one is read."""

import os
import signal
import threading

import pytest

from gateway.demo.brokers.address import BrokerLogin
from gateway.demo.brokers.discovery import Broker
from gateway.demo.brokers.mosquitto import Mosquitto
from tests.integration.acl_clients import check_messages_pass, device
from tests.support.brokers import external_broker, serves


def test_messages_pass_both_ways(broker: Broker) -> None:
    check_messages_pass(broker, "fleet-session")


def test_many_users_are_added_at_once(broker: Broker) -> None:
    users = [f"fleet-many/{n}" for n in range(20)]
    assert [each.user for each in broker.add_users(users).values()] in (users, [broker.address.gateway.user] * 20)
    with device(broker, users[-1]) as last:
        last.publish(f"edge/{users[-1]}/hb", b"let in")


def test_a_broker_that_is_slow_serves(own_mosquitto: Mosquitto) -> None:
    """It would be killed, and with it what it keeps for the tests of a module."""
    os.kill(own_mosquitto.pid, signal.SIGSTOP)
    goes_on = threading.Timer(1.5, os.kill, (own_mosquitto.pid, signal.SIGCONT))
    goes_on.start()
    try:
        assert serves(own_mosquitto.address)
    finally:
        goes_on.join()


def test_a_broker_that_has_ended_does_not_serve(own_mosquitto: Mosquitto) -> None:
    own_mosquitto.kill()
    assert not serves(own_mosquitto.address)


def test_a_url_with_everything() -> None:
    at = external_broker("mqtt://me:se%40cret@broker.example:1900?devices=1901").address
    assert (at.host, at.gateway_port, at.device_port) == ("broker.example", 1900, 1901)
    assert at.gateway == BrokerLogin("me", "se@cret")


def test_a_url_with_a_host_alone() -> None:
    at = external_broker("mqtt://broker.example").address
    assert (at.host, at.gateway_port, at.device_port) == ("broker.example", 1883, 1883)


@pytest.mark.parametrize("url", ["broker.example:1883", "http://broker.example", "mqtt://"])
def test_a_url_that_names_no_broker(url: str) -> None:
    with pytest.raises(ValueError, match=r"GATEWAY_TEST_BROKER: .* must be mqtt://user:password@host:port"):
        external_broker(url)
