"""One device floods the gateway, by many messages or by heavy ones, beside others that behave; a broker that drops."""

import statistics
import time
from pathlib import Path

import msgpack
import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.device import Device
from tests.faults.scenario import Report, Scenario, scaled
from tests.support.flood import Flood
from tests.support.needs import program
from tests.support.payloads import EPOCH
from tests.support.plain_device import Login, Operator, PlainDevice
from tests.support.polling import until

FLOOD_S = scaled(2.0, 30.0)
MOST = scaled(100_000, 100_000_000)
"""Messages of the flood: it is over after a known number on a slow machine too."""
RATE, BURST = 50, 200
TINY = bytes.fromhex("93 01 02 91 03")
"""A heartbeat of five bytes, of a tag without a hello."""


def delays(devices: list[Device]) -> str:
    """The acks since it was asked last."""
    found = [delay for device in devices for delay in device.delays]
    for device in devices:
        device.delays.clear()
    return f"median {statistics.median(found) * 1000:.0f} ms, worst {max(found) * 1000:.0f} ms"


@pytest.mark.needs_broker("holding_publishers")
@pytest.mark.parametrize("qos", [0, 1])
def test_a_flood_from_one_device(scenario: Scenario, qos: int) -> None:
    """As fast as the broker reads. It gets code 7 for what is over its rate, once a second and with the number; the
    others get no error, lose nothing, and wait for nothing: the gateway rejects as fast as the broker delivers."""
    gateway = scenario.gateway(device_rate=RATE, device_burst=BURST, intake=1000)
    at, name = scenario.broker.address, f"{scenario.name}/loud"
    login = scenario.broker.add_users([name])[name]
    others = scenario.join(scaled(20, 200))
    scenario.load(scaled(100, 500), others)
    scenario.run_for(scaled(1, 10))
    scenario.stop_load()
    scenario.until_through()
    alone = scenario.call(delays, others)
    watcher = Login(at.host, at.gateway_port, at.operator.user, at.operator.password)
    began = time.monotonic()
    with Operator(watcher, scenario.name) as operator:
        scenario.load(scaled(100, 500), others)
        with Flood(at.host, at.device_port, login, f"edge/{name}/hb", TINY, qos, most=MOST) as flood:
            scenario.run_for(FLOOD_S)
        scenario.stop_load()
        scenario.until_through()
        behaved = scenario.figures("d-")
        gateway.until_metric('messages_received_total{channel="hb"}', flood.sent + behaved.sent)
        rejected = gateway.metrics()["messages_rate_limited_total"]
        gateway.until_metric('messages_rejected_total{code="gave_up"}', rejected)
        letters = operator.dead.so_far()
    seconds = time.monotonic() - began
    scenario.check_ledger(
        f"the flood {flood.sent / flood.seconds:,.0f} a second, rejected {rejected:,.0f} of {flood.sent:,};"
        f" acks of the others: {alone}, beside it {scenario.call(delays, others)}"
    )
    assert flood.error is None
    assert (behaved.errors, behaved.accepted) == (0, behaved.sent)
    assert 0 < flood.sent - rejected <= BURST + RATE * seconds + 1
    assert 0 < sum(each.properties["code"] == "7" for each in letters) <= seconds + 1


def test_a_stop_during_a_flood_reports_all_that_was_counted(scenario: Scenario) -> None:
    """What is acknowledged is not delivered again: without its report nobody would learn of it."""
    gateway = scenario.gateway(device_rate=1, device_burst=5)
    at, name, count = scenario.broker.address, f"{scenario.name}/loud", 300
    user = scenario.broker.add_users([name])[name]
    watcher = Login(at.host, at.gateway_port, at.operator.user, at.operator.password)
    device = PlainDevice(Login(at.host, at.device_port, user.user, user.password), name)
    with Operator(watcher, scenario.name) as operator, device:
        for _ in range(count):
            device.send("hb", b"\xc1")
        gateway.until_metric('messages_received_total{channel="hb"}', count)
        assert gateway.terminate() == 0

        def reported() -> int:
            return sum(int(each.properties.get("count", 1)) for each in operator.dead.so_far())

        until(lambda: reported() == count, lambda: f"{reported()} of {count} rejections are on dead")


class SmallQueue(Mosquitto):
    """The shipped configuration, but a short queue, and its counters each second."""

    def _site_lines(self) -> dict[str, str]:
        short = {"max_queued_messages": "max_queued_messages 20\nsys_interval 1"}
        return super()._site_lines() | short


def test_the_broker_drops_what_it_has_confirmed(tmp_path: Path, report: Report) -> None:
    """The gateway logs how many since when, and counts them."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    with SmallQueue(folder, program("mosquitto")) as broker, Scenario(broker, "faults", tmp_path, report) as scenario:
        gateway = scenario.gateway(intake=100)
        (device,) = scenario.join(1, wants_acks=False)
        scenario.beat()
        scenario.until_through()
        gateway.until_metric("broker_messages_dropped_total", 0)
        gateway.suspend()
        for _ in range(2):  # and each second it says how many
            scenario.call(device.beat, 250)
            scenario.until_confirmed()
            scenario.run_for(1.5)
        gateway.resume()
        event = "the broker dropped messages, confirmed ones too: a client's queue was full; its log names the client"
        line = gateway.wait_for_log(event)
        assert (line["level"], line["dropped"] > 0, line["since"][:2]) == ("error", True, "20")

        def reported() -> int:
            """In all: the broker says once a second how many it has dropped by then."""
            return sum(each["dropped"] for each in [line, *gateway.log.so_far()] if each["event"] == event)

        scenario.until(lambda: scenario.figures().lost == reported(), f"not as many were lost as after {line}")
        gateway.until_metric("broker_messages_dropped_total", reported())
        scenario.check_ledger(forgiven=reported())


def heavy(samples: int, seq: int) -> bytes:
    """A heartbeat of one metric, with names as long as the service takes: 1,175 bytes of JSON for each two here."""
    layout = ["1.0.0", [["d" * 1000, "n" * 100]], []]
    return bytes(msgpack.packb([layout, EPOCH, [[0] * (2 * samples)], None, None, None, seq]))


def test_heavy_heartbeats_from_one_device(scenario: Scenario) -> None:
    """A call is at most 2 MiB of JSON: what would be more gets code 4, and no other device waits for it."""
    scenario.gateway()
    name = f"{scenario.name}/heavy"
    user = scenario.broker.add_users([name])[name]
    at = scenario.broker.address
    others = scenario.join(scaled(20, 200))
    scenario.load(scaled(100, 500), others)
    scenario.run_for(scaled(1, 10))
    alone = scenario.call(delays, others)
    with PlainDevice(Login(at.host, at.device_port, user.user, user.password), name) as device:
        for seq in range(scaled(10, 100)):
            device.send("hb", heavy(32_000, seq))
            assert device.ack(seq)[0] == 4
    scenario.stop_load()
    scenario.until_through()
    behaved = scenario.figures("d-")
    scenario.check_ledger(f"acks of the others: {alone}, beside it {scenario.call(delays, others)}")
    assert (behaved.errors, behaved.accepted) == (0, behaved.sent)
