"""A broker that grants less than the gateway asks for, and one that ends the connection because of a publication."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.support.arrivals import Arrivals
from tests.support.brokers import LimitedMosquitto
from tests.support.edge_manager import RecordingEdgeManager
from tests.support.gateway_process import READY, GatewayProcess, settings
from tests.support.loop_thread import LoopThread
from tests.support.payloads import LAYOUT, T
from tests.support.plain_device import Login, PlainDevice
from tests.support.tcp_proxy import TcpProxy

FLEET = "limits"
LIMITED = "the broker's limits stop something that the gateway does"
LOST = "connection to the broker lost: it keeps unacknowledged messages"
UNASKED = "the broker ends the connection when hellos are asked for: their devices get code 2"
KEPT = "payload not delivered on the topic dead: saved to a file"
NOT_TAKEN = "the broker does not take a publication: its device does not get it"


def deployments(size: int) -> list[dict[str, Any]]:
    """What GetDeployments answers, for a plan of some bytes more than `size`."""
    names = [f"{number:06}" + "n" * 57 for number in range(size // 66 + 1)]
    return [{"DeploymentName": name, "Type": "Model", "FailureHandlingPolicy": "DO_NOTHING"} for name in names]


class Site:
    """A limited broker, an Edge Manager, a gateway as a process, and devices that keep no hello."""

    def __init__(self, broker: Mosquitto, service: RecordingEdgeManager, folder: Path, stack: ExitStack) -> None:
        self.broker, self.service = broker, service
        self._folder, self._stack = folder, stack

    def gateway(self, port: int | None = None, **more: object) -> GatewayProcess:
        at = self.broker.address
        variables = settings(at, self.service.url, FLEET, self._folder / "state", **more)
        url = variables["GATEWAY_MQTT_URL"]
        variables["GATEWAY_MQTT_URL"] = url.replace(str(at.gateway_port), str(port or at.gateway_port))
        return self._stack.enter_context(GatewayProcess(variables))

    def device(self, name: str) -> PlainDevice:
        at, user = self.broker.address, f"{FLEET}/{name}"
        login = self.broker.add_users([user])[user]
        return self._stack.enter_context(PlainDevice(Login(at.host, at.device_port, login.user, login.password), user))

    def proxy(self, watched: bytes, ends: bool = False, restarts: int = 0) -> "WatchingProxy":
        made = WatchingProxy(self.broker.address.host, self.broker.address.gateway_port, watched, ends, restarts)
        loop = self._stack.enter_context(LoopThread("proxy"))
        loop.run(made.open())
        self._stack.callback(lambda: loop.run(made.close()))
        return made


class WatchingProxy(TcpProxy):
    """Watches for bytes from the gateway. `ends`: it ends the connection then, as some brokers do to say no.
    `restarts`: the first so many times it ends all of the gateway's, as a broker that restarts."""

    def __init__(self, host: str, port: int, watched: bytes, ends: bool, restarts: int) -> None:
        super().__init__(host, port)
        self._watched, self._ends, self._restarts = watched, ends, restarts
        self.seen: Arrivals[object] = Arrivals("packet with the watched bytes")

    async def to_server(self, piece: bytes, server: asyncio.StreamWriter) -> None:
        if self._watched in piece:
            self.seen.put(server)
        if self._watched in piece and self._restarts:
            self._restarts -= 1
            self.cut()
        elif self._watched in piece and self._ends:
            server.transport.abort()
        else:
            await super().to_server(piece, server)


@contextmanager
def site(folder: Path, *lines: str, of_listener: str = "") -> Iterator[Site]:
    (folder / "broker").mkdir()
    with ExitStack() as stack:
        broker = LimitedMosquitto(folder / "broker", lines, of_listener)
        broker.add_users([f"{FLEET}/a", f"{FLEET}/b"])  # a reload would take max_qos away
        stack.enter_context(broker)
        yield Site(broker, stack.enter_context(RecordingEdgeManager()), folder, stack)


def heartbeat(device: PlainDevice, seq: int, have: int | None = None) -> tuple[int, str]:
    """One with a seq; its ack."""
    device.heartbeat(LAYOUT, T + seq, [1], None, have, None, seq)
    return device.ack(seq)


def lost(gateway: GatewayProcess) -> int:
    """How often the connection to the broker was lost."""
    return sum(line["event"] == LOST for line in gateway.log.so_far())


def test_the_broker_grants_a_shorter_keep_alive(tmp_path: Path) -> None:
    """Both connections send something in the time that was granted, though keepalive is longer."""
    with site(tmp_path, "max_keepalive 10") as made:
        proxy = made.proxy(b"$keepalive")
        gateway = made.gateway(proxy.port, keepalive=60)
        first = proxy.seen.next()
        proxy.seen.next(lambda connection: connection is not first)
        assert lost(gateway) == 0


def test_the_broker_takes_small_packets_alone(tmp_path: Path) -> None:
    """What fits is sent; a plan that does not is code 6, in answer to a `get` and to a `have`; the log names it."""
    with site(tmp_path, "max_packet_size 4096") as made:
        gateway = made.gateway()
        assert "4,096 bytes" in gateway.wait_for_log(LIMITED)["limits"][0]
        a, b = made.device("a"), made.device("b")
        made.service.deployments["a"] = deployments(3000)
        made.service.deployments["b"] = deployments(5000)
        a.get(0, 1)
        assert len(a.plan().content[1]) > 40
        assert a.ack(1) == (0, "")
        b.get(0, 1)
        code, detail = b.ack(1)
        assert code == 6
        assert detail.endswith("does not fit the broker's largest packet")
        assert heartbeat(b, 2, have=5) == (0, "")
        b.heartbeat("x" * 4040)  # with its reason it does not fit on `dead`
        assert b.ack()[0] == 1
        assert "Packet too large" in gateway.wait_for_log(NOT_TAKEN)["reason"]
        gateway.log.next(lambda line: line["event"] == KEPT and "Packet too large" in line["reason"])
        assert gateway.metrics()["publications_refused_total"] == 1
        assert lost(gateway) == 0


@pytest.mark.parametrize(
    ("line", "of_listener", "said"),
    [("retain_available false", "", "no retained messages"), ("", "max_qos 0", "QoS 0 only")],
    ids=["retain", "qos"],
)
def test_the_broker_keeps_no_retained_messages_or_takes_qos_0_alone(
    tmp_path: Path, line: str, of_listener: str, said: str
) -> None:
    """Acks and plans come without that, and no publication ends the connection."""
    with site(tmp_path, *filter(None, [line]), of_listener=of_listener) as made:
        gateway = made.gateway()
        assert said in gateway.wait_for_log(LIMITED)["limits"][0]
        a, b = made.device("a"), made.device("b")
        made.service.deployments["a"] = deployments(100)
        a.get(0, 1)
        assert a.plan().content[1]
        assert a.ack(1) == (0, "")
        assert heartbeat(b, 1) == (0, "")
        assert lost(gateway) == 0


def test_a_publication_ends_the_connection_each_time(tmp_path: Path) -> None:
    """No limit was announced, no reason given. It is given up at the third time: the log names it, its device gets code
    6, another device its ack; and the plan is not tried again at once."""
    with site(tmp_path) as made:
        proxy = made.proxy(b"n" * 57, ends=True)
        gateway = made.gateway(proxy.port, plan_ttl=0)
        a, b = made.device("a"), made.device("b")
        made.service.deployments["a"] = deployments(100)
        a.get(0, 1)
        code, detail = a.ack(1)  # not code 0 before it
        assert (code, "ended three times" in detail) == (6, True)
        assert heartbeat(b, 1) == (0, "")
        said = gateway.wait_for_log(NOT_TAKEN)
        assert (said["level"], said["topic"]) == ("error", f"edge/{FLEET}/a/plan")
        assert gateway.metrics()["publications_refused_total"] == 1
        gateway.wait_for_log(READY)
        a.get(0, 2)
        assert a.ack(2)[0] == 6
        assert len(proxy.seen.so_far()) == 3


def test_a_request_for_a_hello_ends_the_connection_each_time(tmp_path: Path) -> None:
    """It is given up at the third time: its device gets code 2, another device its ack."""
    with site(tmp_path) as made:
        proxy = made.proxy(f"edge/{FLEET}/a/hello".encode(), ends=True)
        gateway = made.gateway(proxy.port)
        a, b = made.device("a"), made.device("b")
        a.numbered(1)
        assert a.ack(1)[0] == 2
        assert heartbeat(b, 1) == (0, "")
        assert gateway.wait_for_log(UNASKED)["level"] == "error"
        assert len(proxy.seen.so_far()) == 3
        gateway.wait_for_log(READY)


def test_the_broker_restarts_while_a_publication_is_in_flight(tmp_path: Path) -> None:
    """Again and again, but it is not blamed: each time the gateway's other connection ends too."""
    with site(tmp_path) as made:
        proxy = made.proxy(b"n" * 57, restarts=4)
        gateway = made.gateway(proxy.port, plan_ttl=0)
        a = made.device("a")
        made.service.deployments["a"] = deployments(100)
        a.get(0, 1)
        assert len(a.plan().content[1]) > 1
        assert a.ack(1)[0] == 0
        assert gateway.metrics()["publications_refused_total"] == 0
        assert len(proxy.seen.so_far()) >= 5  # once more where the broker delivers the `get` again meanwhile


def test_the_broker_restarts_while_a_hello_is_asked_for(tmp_path: Path) -> None:
    """Again and again: it is asked for until it has come."""
    with site(tmp_path) as made:
        proxy = made.proxy(f"edge/{FLEET}/a/hello".encode(), restarts=4)
        gateway = made.gateway(proxy.port)
        a = made.device("a")
        a.numbered(1)
        for _ in range(5):
            proxy.seen.next()
        assert a.ack(1)[0] == 2
        assert all(line["event"] != UNASKED for line in gateway.log.so_far())
