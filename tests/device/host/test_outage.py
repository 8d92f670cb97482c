"""What is measured without a connection arrives afterwards with its dates, by every port over a real broker."""

import itertools
import json
import queue
import threading
import time

import paho.mqtt.client as paho
import pytest

from device_sdk.agent import Agent
from device_sdk.port_paho import PahoPort
from tests.support.arrivals import DEADLINE_S
from tests.support.processes import end
from tests.support.tcp_proxy import TcpProxyThread

LAYOUT = ["1.0.0", [["sys", "free-heap"], ["sys", "rssi"]], []]
MISSED = 3


@pytest.fixture
def link(broker):
    """The way of a device to its broker."""
    with TcpProxyThread("127.0.0.1", broker.port) as link:
        yield link


def samples(value) -> list[tuple[int, int]]:
    """Number and time of each."""
    cell = value[2][1]
    pairs = zip(cell[::2], cell[1::2]) if isinstance(cell, list) else [(cell, 0)]
    return [(number, value[1] - age) for number, age in pairs]


def measured(process) -> int:
    """Waits for the device's next sample and returns its number."""
    return json.loads(process.stdout.readline())["sample"]


def are_dated(times) -> bool:
    """Whether these are the dates of samples that were measured one each second."""
    # A date is a whole second: of two that a busy machine measured late and in time it may be the same, of three not.
    steps = [after - before for before, after in itertools.pairwise(times)]
    return all(0 <= step < 10 for step in steps) and all(map(sum, itertools.pairwise(steps)))


def arrive(gateway, link, measured) -> None:
    """measured(): waits for the device's next sample and returns its number."""
    got = []

    def beat():
        got.extend(samples(gateway.wait(lambda channel, value: channel == "hb" and value[2:3] not in ([], [None]))))
        return got[-1][0]

    beat()
    link.run(link.proxy.close())
    last = measured() + MISSED
    while measured() < last:
        pass
    link.run(link.proxy.open())
    while beat() <= last:
        pass
    numbers, times = zip(*dict.fromkeys(got))  # QoS 1: the one that the cut met may come twice
    assert list(numbers) == list(range(numbers[0], numbers[-1] + 1)), got
    assert are_dated(times), got


def test_of_a_board(device, gateway, link):
    process = device("sampling", "state", port=link.proxy.port)
    arrive(gateway, link, lambda: measured(process))


def test_what_was_stored_arrives_after_a_loss_of_power(device, gateway, link, tmp_path):
    process = device("storing", "0", port=link.proxy.port)
    first = measured(process)
    link.run(link.proxy.close())
    while measured(process) < first + 2 * MISSED:
        pass
    end(process)
    link.run(link.proxy.open())
    process = device("storing", "1000", port=link.proxy.port)
    got = {}
    while not (got and max(got) > 1000 and not list(tmp_path.glob("backlog*"))):
        value = gateway.wait(lambda channel, value: channel == "hb" and len(value) > 6)
        got.update(samples(value))
        gateway.publish("ack", [value[6], 0, int(time.time())])
    stored = range(first + 1, first + 2 * MISSED)
    assert set(stored) <= got.keys()
    dates = [got[number] for number in stored]
    assert are_dated(dates), got
    assert got[1001] > dates[-1]


def test_of_a_host_with_paho(gateway, link):
    came: queue.Queue[int] = queue.Queue()

    def measure(agent):
        measure.count += 1
        agent.sample("rssi", measure.count)
        came.put(measure.count)

    measure.count = 0
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "host")
    client.reconnect_delay_set(1, 1)
    port = PahoPort(Agent(LAYOUT, measure=measure, interval=1), client, "fleet-a", "dev-1")
    client.connect("127.0.0.1", link.proxy.port)
    client.loop_start()
    thread = threading.Thread(target=port.run)
    thread.start()
    try:
        arrive(gateway, link, lambda: came.get(timeout=DEADLINE_S))
        assert port.agent.open == 2
    finally:
        port.stop()
        thread.join(DEADLINE_S)
        client.disconnect()
        client.loop_stop()
