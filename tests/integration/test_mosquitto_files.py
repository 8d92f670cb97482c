"""The shipped mosquitto.conf and acl: who may do what, what survives a kill -9, what is never dropped.

The broker is a Mosquitto that runs these files. That something does not arrive is shown by a sentinel sent after it.
"""

from pathlib import Path

import pytest

from gateway.demo.mosquitto import SHIPPED, Mosquitto, with_site_lines
from tests.clients import Client, connecting
from tests.integration.acl import MQTT_5, device, gateway, operator

A = "fleet-m/a"
B = "fleet-m/b"
CHANNELS = ("hello", "hb", "get", "read", "plan", "ack", "block", "dead")
FROM_DEVICE = ("hello", "hb", "get", "read")
TO_DEVICE = ("plan", "ack", "block")


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


# -- who may do what --


def test_a_device_writes_its_four_channels_and_nothing_else(own_mosquitto: Mosquitto) -> None:
    """Heard by the gateway and the operator together, since neither may read all."""
    with gateway(own_mosquitto) as door, operator(own_mosquitto) as desk, device(own_mosquitto, A) as a:
        own_mosquitto.admit(B)
        door.subscribe(*(f"edge/+/+/{channel}" for channel in FROM_DEVICE))
        desk.subscribe("edge/+/+/dead")
        for user in (A, B):
            for channel in CHANNELS:
                a.publish(topic(user, channel), channel.encode())
        a.publish("edge/fleet-m/a/hb/more", b"deeper")
        a.publish("other/fleet-m/a/hb", b"of another root")
        a.publish(topic(A, "hb"), b"sentinel")
        expected = [(topic(A, channel), channel.encode()) for channel in FROM_DEVICE]
        assert heard(door, (topic(A, "hb"), b"sentinel")) == expected
        door.publish(topic(A, "dead"), b"sentinel")
        assert heard(desk, (topic(A, "dead"), b"sentinel")) == []


def test_a_device_cannot_put_a_plan_on_its_own_or_anothers_topic(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto) as door, device(own_mosquitto, A) as a, device(own_mosquitto, B) as b:
        for client, user in ((a, A), (b, B)):
            client.subscribe(*(topic(user, channel) for channel in TO_DEVICE))
        for user in (A, B):
            for channel in TO_DEVICE:
                a.publish(topic(user, channel), b"forged")
        for client, user in ((a, A), (b, B)):
            door.publish(topic(user, "ack"), b"sentinel")
            assert heard(client, (topic(user, "ack"), b"sentinel")) == []


def test_a_device_reads_its_three_channels_and_nothing_else(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto) as door, device(own_mosquitto, A) as a, device(own_mosquitto, B) as b:
        a.subscribe("#", "$SYS/#", "edge/+/+/plan", *(topic(u, c) for u in (A, B) for c in CHANNELS))
        for channel in FROM_DEVICE:
            b.publish(topic(B, channel), b"of another")
        for channel in (*TO_DEVICE, "dead"):
            door.publish(topic(B, channel), b"for another")
        door.publish(topic(A, "dead"), b"for the operator")
        for channel in TO_DEVICE:
            door.publish(topic(A, channel), channel.encode())
        door.publish(topic(A, "ack"), b"sentinel")
        # Overlapping subscriptions may deliver a message more than once.
        assert set(heard(a, (topic(A, "ack"), b"sentinel"))) == {(topic(A, c), c.encode()) for c in TO_DEVICE}


def test_the_gateway_writes_only_what_devices_and_operators_read(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto) as door, device(own_mosquitto, A) as a:
        door.subscribe("#", *(f"edge/+/+/{channel}" for channel in CHANNELS))
        for channel in CHANNELS:
            door.publish(topic(A, channel), b"by the gateway")
        a.publish(topic(A, "hb"), b"sentinel")
        assert heard(door, (topic(A, "hb"), b"sentinel")) == []


def test_the_operator_reads_dead_of_all_and_writes_nothing(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto) as door, operator(own_mosquitto) as desk, device(own_mosquitto, A) as a:
        desk.subscribe("#", *(f"edge/+/+/{channel}" for channel in CHANNELS))
        door.subscribe("edge/+/+/hb")
        desk.publish(topic(A, "hb"), b"by the operator")
        a.publish(topic(A, "hb"), b"sentinel")
        assert heard(door, (topic(A, "hb"), b"sentinel")) == []
        door.publish(topic(A, "plan"), b"not theirs")
        door.publish(topic(A, "dead"), b"refused")
        assert desk.next() == (topic(A, "dead"), b"refused")


def test_nobody_comes_in_without_a_password(own_mosquitto: Mosquitto) -> None:
    at = own_mosquitto.address
    own_mosquitto.admit(A)
    for port in (at.gateway_port, at.device_port):
        with connecting(at.host, port, None, "a", MQTT_5) as stranger:
            assert stranger.connack().is_failure
        with connecting(at.host, port, type(at.gateway)(A, "wrong"), "a", MQTT_5) as stranger:
            assert stranger.connack().is_failure


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


def test_a_new_user_disturbs_nobody(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto) as door, device(own_mosquitto, A) as a:
        door.subscribe("edge/+/+/hb")
        with device(own_mosquitto, B) as b:
            b.publish(topic(B, "hb"), b"new")
            a.publish(topic(A, "hb"), b"old")
            assert [door.next(), door.next()] == [(topic(B, "hb"), b"new"), (topic(A, "hb"), b"old")]


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
