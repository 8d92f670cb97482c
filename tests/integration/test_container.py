"""The shipped Mosquitto files in a real container: messages pass, and no device acts under another's name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.brokers.discovery import Broker
from tests.integration.acl_clients import check_messages_pass, device, gateway
from tests.support import brokers, needs
from tests.support.containers import Container

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if (reason := brokers.no_container()) is not None:
        needs.missing(reason)
    with Container(brokers.IMAGE, tmp_path_factory.mktemp("container")) as running:
        yield running


def test_a_heartbeat_reaches_the_gateway_and_its_answer_the_device(container: Broker) -> None:
    check_messages_pass(container, "fleet-c")


def test_a_device_cannot_publish_as_another(container: Broker) -> None:
    with gateway(container) as gateway_client, device(container, "fleet-c/a") as a, device(container, "fleet-c/b"):
        gateway_client.subscribe("edge/+/+/hb")
        a.publish("edge/fleet-c/b/hb", b"as another")
        a.publish("edge/fleet-c/a/hb", b"sentinel")
        assert gateway_client.next() == ("edge/fleet-c/a/hb", b"sentinel")


def test_a_device_cannot_receive_what_is_anothers(container: Broker) -> None:
    with gateway(container) as gateway_client, device(container, "fleet-c/a") as a, device(container, "fleet-c/b"):
        a.subscribe("edge/fleet-c/b/plan", "edge/+/+/plan", "#", "edge/fleet-c/a/plan")
        gateway_client.publish("edge/fleet-c/b/plan", b"for another")
        gateway_client.publish("edge/fleet-c/a/plan", b"sentinel")
        assert a.next() == ("edge/fleet-c/a/plan", b"sentinel")


def test_only_the_listeners_differ_from_the_shipped_file(tmp_path: Path) -> None:
    """What the container runs is what a deployment copies."""
    if (reason := brokers.no_container()) is not None:
        needs.missing(reason)
    with Container(brokers.IMAGE, tmp_path):
        shipped = (Path("mosquitto") / "mosquitto.conf").read_text().splitlines()
        run = (tmp_path / "mosquitto.conf").read_text().splitlines()
    changed = [(a, b) for a, b in zip(shipped, run, strict=True) if a != b]
    assert changed == [(f"listener {port} 127.0.0.1", f"listener {port}") for port in (1884, 1883)]
