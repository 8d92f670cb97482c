"""The brokers that the demo and the tests start: they answer, come back after a kill -9, and outlive nobody."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo.brokers import discovery as brokers_of_demo
from gateway.demo.brokers import rumqttd
from gateway.demo.brokers.address import both_listeners_answer
from gateway.demo.brokers.discovery import ManagedBroker
from gateway.demo.brokers.mosquitto import Mosquitto
from gateway.demo.brokers.process import ProcessError
from gateway.demo.brokers.rumqttd import Rumqttd
from tests.integration.acl_clients import check_messages_pass, device, gateway
from tests.support.arrivals import DEADLINE_S
from tests.support.needs import missing, program
from tests.support.polling import until
from tests.support.processes import is_alive, line, running

# Starts a broker and waits for ever, so that only its own death can end the broker.
PARENT = """
import pathlib, signal, sys
from gateway.demo.brokers.{module} import {name}
with {name}(pathlib.Path(sys.argv[1]), *sys.argv[2:]) as broker:
    print(broker.pid, flush=True)
    signal.pause()
"""


def make(kind: str, directory: Path) -> ManagedBroker:
    if kind == "mosquitto":
        return Mosquitto(directory, program("mosquitto"))
    return Rumqttd(directory) if rumqttd.is_installed() else missing("iotcore is not installed")


@pytest.fixture(params=["mosquitto", "rumqttd"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> ManagedBroker:
    return make(request.param, tmp_path)


def test_messages_pass_both_ways(own: ManagedBroker) -> None:
    with own:
        check_messages_pass(own, "fleet-b")


def test_more_than_max_payload_passes(own: ManagedBroker) -> None:
    with own, gateway(own) as gateway_client, device(own, "fleet-b/a") as a:
        gateway_client.subscribe("edge/+/+/hb")
        a.publish("edge/fleet-b/a/hb", bytes(70_000))
        assert gateway_client.next() == ("edge/fleet-b/a/hb", bytes(70_000))


def test_it_comes_back_on_its_ports_after_kill_9(own: ManagedBroker) -> None:
    with own:
        first = own.pid
        own.kill()
        assert not both_listeners_answer(own.address)
        own.start()
        assert own.pid != first
        assert both_listeners_answer(own.address, DEADLINE_S)
        with gateway(own) as gateway_client:
            gateway_client.subscribe("edge/+/+/hb")


def test_nothing_is_left_when_it_is_stopped(own: ManagedBroker) -> None:
    with own:
        pid = own.pid
    assert not is_alive(pid)
    assert not both_listeners_answer(own.address)


@pytest.mark.parametrize(("module", "name"), [("mosquitto", "Mosquitto"), ("rumqttd", "Rumqttd")])
def test_it_ends_with_a_parent_that_is_killed(module: str, name: str, tmp_path: Path) -> None:
    make(module, tmp_path)
    where = [program("mosquitto")] if module == "mosquitto" else []
    command = [sys.executable, "-c", PARENT.format(module=module, name=name), str(tmp_path), *where]
    with running(command, stdout=subprocess.PIPE) as parent:
        pid = int(line(parent, "pid of the broker"))
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    until(lambda: not is_alive(pid), lambda: f"pid {pid} outlived its parent")


def test_a_port_that_is_taken_is_reported_with_the_brokers_log(tmp_path: Path) -> None:
    own = make("mosquitto", tmp_path)
    with socket.socket() as taken:
        taken.bind((own.address.host, own.address.device_port))
        taken.listen()
        with pytest.raises(ProcessError, match="Address already in use"):
            own.start()


def test_starting_twice_is_an_error(own: ManagedBroker) -> None:
    with own, pytest.raises(ProcessError, match=f"is running already, pid {own.pid}"):
        own.start()


def test_a_broker_that_was_never_started_can_be_stopped(own: ManagedBroker) -> None:
    own.stop()
    with pytest.raises(ProcessError, match="is not running"):
        _ = own.pid


def test_find_takes_mosquitto_first_and_rumqttd_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = make("mosquitto", tmp_path)
    assert brokers_of_demo.find_broker(tmp_path).address.kind == binary.address.kind
    monkeypatch.setattr(brokers_of_demo, "mosquitto_binary", lambda: None)
    assert brokers_of_demo.find_broker(tmp_path).address.kind == "embedded (rumqttd)"


def test_a_secret_is_not_shown(own: ManagedBroker) -> None:
    assert own.address.gateway.password not in repr(own.address)


def test_the_password_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    make("mosquitto", tmp_path)
    assert os.stat(tmp_path / "passwords").st_mode & 0o777 == 0o600
