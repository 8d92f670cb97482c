"""The shipped mosquitto.conf and acl: what survives a kill -9, what is never dropped.

The broker is a Mosquitto that runs these files. That something does not arrive is shown by a sentinel sent after it.
"""

from pathlib import Path

import pytest

from gateway.demo.mosquitto import SHIPPED, Mosquitto, with_site_lines
from tests.clients import Client, connecting
from tests.integration.acl import device, gateway, operator

A = "fleet-m/a"
B = "fleet-m/b"


def topic(user: str, channel: str) -> str:
    return f"edge/{user}/{channel}"


def heard(listener: Client, sentinel: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    """What came before the sentinel."""
    return list(iter(listener.next, sentinel))


# -- what the tests run is what is shipped --


def test_only_site_lines_are_changed(own_mosquitto: Mosquitto, tmp_path: Path) -> None:
    shipped = (SHIPPED / "mosquitto.conf").read_text().splitlines()
    run = (tmp_path / "mosquitto" / "mosquitto.conf").read_text().splitlines()
    changed = {a.split(" ")[0] for a, b in zip(shipped, run, strict=True) if a != b}
    assert changed <= {"user", "password_file", "acl_file", "persistence_location", "listener", "include_dir"}
    assert (tmp_path / "mosquitto" / "acl").read_bytes() == (SHIPPED / "acl").read_bytes()


def test_a_site_line_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="0 lines of the configuration begin with 'listener 9'"):
        with_site_lines("listener 99\n", {"listener 9": "listener 1"})


def test_a_site_line_that_is_there_twice_is_told() -> None:
    with pytest.raises(ValueError, match="2 lines"):
        with_site_lines("user a\nuser b\n", {"user": "user c"})


# -- the door without TLS; test_isolation.py has all that is said and heard --


def test_a_device_cannot_throw_another_out_by_its_client_id(own_mosquitto: Mosquitto) -> None:
    at = own_mosquitto.address
    a, b = own_mosquitto.admit(A), own_mosquitto.admit(B)
    with (
        gateway(own_mosquitto) as door,
        connecting(at.host, at.device_port, a, A) as first,
        connecting(at.host, at.device_port, b, A) as second,
    ):
        assert not first.connack().is_failure
        assert not second.connack().is_failure
        door.subscribe("edge/+/+/hb")
        first.publish(topic(A, "hb"), b"still here")
        assert door.next() == (topic(A, "hb"), b"still here")


# -- what survives --


def leave_work_behind(broker: Mosquitto) -> None:
    """A session of the gateway with one waiting heartbeat, a retained hello and a retained plan."""
    with gateway(broker, session=True) as door, device(broker, A) as a:
        door.subscribe("edge/+/+/hb")
        door.publish(topic(A, "plan"), b"the plan", retain=True)
        a.publish(topic(A, "hello"), b"the hello", retain=True)
    with device(broker, A) as a:
        a.publish(topic(A, "hb"), b"waited")


def find_work_again(broker: Mosquitto) -> None:
    """Nobody subscribes to `hb` again: what comes comes by the session."""
    with device(broker, A) as a:
        a.publish(topic(A, "hb"), b"after the restart")
        a.subscribe(topic(A, "plan"))
        assert a.next() == (topic(A, "plan"), b"the plan")
    with gateway(broker, session=True) as door:
        assert [door.next(), door.next()] == [(topic(A, "hb"), b"waited"), (topic(A, "hb"), b"after the restart")]
        door.subscribe("edge/+/+/hello")
        assert door.next() == (topic(A, "hello"), b"the hello")


def test_all_that_was_saved_survives_kill_9(own_mosquitto: Mosquitto) -> None:
    leave_work_behind(own_mosquitto)
    own_mosquitto.save()
    own_mosquitto.kill()
    own_mosquitto.start()
    find_work_again(own_mosquitto)


def test_a_stop_saves_all(own_mosquitto: Mosquitto) -> None:
    leave_work_behind(own_mosquitto)
    own_mosquitto.stop()
    own_mosquitto.start()
    find_work_again(own_mosquitto)


# -- what is never dropped --


def test_more_waits_than_mosquittos_default_of_1000(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto, session=True) as door:
        door.subscribe("edge/+/+/hb")
    with device(own_mosquitto, A) as a:
        for n in range(3000):
            a.publish_unconfirmed(topic(A, "hb"), b"%d" % n)
        a.publish(topic(A, "hb"), b"last")
    with gateway(own_mosquitto, session=True) as door:
        waited = heard(door, (topic(A, "hb"), b"last"))
    assert waited == [(topic(A, "hb"), b"%d" % n) for n in range(3000)]


@pytest.mark.parametrize("size", [1_000_000, 2_097_152])
def test_a_large_payload_reaches_the_gateway_and_stands_on_dead(own_mosquitto: Mosquitto, size: int) -> None:
    with gateway(own_mosquitto) as door, operator(own_mosquitto) as desk, device(own_mosquitto, A) as a:
        door.subscribe("edge/+/+/hb")
        desk.subscribe("edge/+/+/dead")
        a.publish(topic(A, "hb"), bytes(size))
        assert door.next() == (topic(A, "hb"), bytes(size))
        door.publish(topic(A, "dead"), bytes(size))
        assert desk.next() == (topic(A, "dead"), bytes(size))


def test_a_larger_one_is_dropped_and_the_next_passes(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto) as door, device(own_mosquitto, A) as a:
        door.subscribe("edge/+/+/hb")
        a.publish(topic(A, "hb"), bytes(2_097_153))
        a.publish(topic(A, "hb"), b"sentinel")
        assert door.next() == (topic(A, "hb"), b"sentinel")


def test_a_still_larger_one_ends_its_connection(own_mosquitto: Mosquitto) -> None:
    with device(own_mosquitto, A) as a:
        a.publish_unconfirmed(topic(A, "hb"), bytes(2_162_688))
        assert a.disconnected().is_failure
