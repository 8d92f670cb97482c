"""A device with a backlog beside a broker, the gateway and the service: what was stored is accepted, with its dates."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_sdk.agent import Agent
from device_sdk.backlog import Backlog
from device_sdk.port import Port, in_file
from tests.integration.testbed import Testbed
from tests.support.edge_manager import UNAVAILABLE
from tests.support.tcp_proxy import TcpProxyThread

LAYOUT = ["1.0.0", [["sys", "number"]], []]


@pytest.fixture
def link(testbed: Testbed) -> Iterator[TcpProxyThread]:
    """The way of the device to its broker."""
    at = testbed.broker.address
    with TcpProxyThread(at.host, at.device_port) as link:
        yield link


def test_what_was_stored_is_accepted_with_its_dates_and_dropped_by_its_ack(
    testbed: Testbed, link: TcpProxyThread, tmp_path: Path
) -> None:
    testbed.open()
    login = testbed.broker.add_user(f"{testbed.fleet}/d")
    measured: dict[int, float] = {}

    def measure(agent: Agent) -> None:
        measured[len(measured)] = time.time()
        agent.sample("number", len(measured) - 1)

    def boot() -> Port:
        store, path = in_file(str(tmp_path / "state")), str(tmp_path / "kept")
        agent = Backlog(LAYOUT, measure=measure, interval=1, store=store, path=path)
        port = Port(agent, "127.0.0.1", testbed.fleet, "d", login.password, link.proxy.port)
        port.client.timeout = 1000
        return port

    def run(port: Port, until: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not until():
            assert time.monotonic() < end, (port.error, port.agent.error, port.agent.detail)
            port.step(50)

    def accepted(port: Port) -> int:
        assert isinstance(port.agent, Backlog)
        return port.agent.accepted

    def stored() -> bool:
        return bool(list(tmp_path.glob("kept*")))

    port = boot()
    run(port, lambda: accepted(port) > 1 and not stored())  # what an ack that came late left there goes
    testbed.service.fail(UNAVAILABLE)  # no ack comes
    first = len(measured)
    run(port, lambda: len(measured) > first + 3)
    link.run(link.proxy.close())
    first = len(measured)
    run(port, lambda: len(measured) > first + 3)
    assert stored()
    last = len(measured)
    link.run(link.proxy.open())
    testbed.service.recover()
    port = boot()  # it lost its power
    run(port, lambda: accepted(port) > 0 and not stored() and len(measured) > last + 1)
    port.client.close()

    dates: dict[int, set[float]] = {}
    for call in testbed.service.calls.so_far():
        for metric in call.body.get("AgentMetrics", []) if call.accepted else []:
            dates.setdefault(metric["Value"], set()).add(metric["Timestamp"])
    missing = measured.keys() - dates.keys()
    assert missing <= {last - 1, len(measured) - 1}, "only what was measured last was in memory alone"
    for number, found in dates.items():
        assert max(found) - min(found) <= 1, found
        assert abs(min(found) - measured[number]) <= 1.5
