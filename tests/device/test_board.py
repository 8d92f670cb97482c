"""The port of a board with Wi-Fi, over stand-ins of `network.WLAN` and `machine.WDT`."""

from device_sdk import port_board
from device_sdk.agent import Agent
from device_sdk.port_board import BoardPort
from tests.device.support import NOW
from tests.device.test_port import Client


class Wlan:
    """Connects at the second attempt, unless it raises."""

    def __init__(self, error=None):
        self.calls = []
        self.error = error

    def isconnected(self):
        return self.attempts() > 1

    def attempts(self):
        return len([call for call in self.calls if call[0] == "connect"])

    def status(self):
        return -2

    def active(self, flag):
        if self.error:
            raise self.error
        self.calls.append(("active", flag))

    def disconnect(self):
        self.calls.append(("disconnect",))

    def connect(self, *network):
        self.calls.append(("connect",) + network)


class Wdt:
    fed = 0

    def feed(self):
        self.fed += 1


class Live(Client):
    """Keeps what it was made with, and what was written."""

    def __init__(self, host, port, flags, fields, *arguments):
        Client.__init__(self, host, port, flags, fields, *arguments)
        self.broker = host, port
        self.flags = flags
        self.fields = fields
        self.written = []
        self.buf = bytearray(10)
        self.unread = 25
        self.io = self

    def readinto(self, buf, n):
        n = min(n, self.unread)
        self.unread -= n
        return n or None

    def start(self):
        pass

    def write(self, buf, at, end):
        self.written.append(bytes(buf[at:end]))

    def disconnect(self):
        self.written.append("disconnect")
        self.open = False


def made(**more):
    agent = Agent(["1.0.0", [["sys", "rssi"]], []], print, print, interval=300)
    return BoardPort(agent, "", "fleet-a", "dev-1", clock=lambda: NOW, mqtt=Live, **more)


def test_wifi_is_connected_again_and_only_then_the_broker():
    wlan = Wlan()
    lines = []
    port = made(wlan=wlan, ssid="network", key="secret", log=lines.append)
    port.step(0)
    port.step(0)
    assert wlan.calls == [("active", True), ("disconnect",), ("connect", "network", "secret")]
    assert not port.client.open
    port.tried -= port_board.RETRY + 1
    port.step(0)
    assert wlan.attempts() == 2
    assert not port.client.open
    port.step(0)
    assert port.client.open
    assert lines[0] == "not connected: no Wi-Fi: status -2. It is tried again"
    assert lines[1].startswith("connecting to ")
    assert port.error is None


def test_it_measures_without_wifi_too():
    measured = []
    port = made(wlan=Wlan(), ssid="network")
    port.agent.measure = measured.append
    port.step(0)
    assert len(measured) == 1


def test_a_driver_that_raises_ends_nothing():
    port = made(wlan=Wlan(OSError("Wifi Internal Error")), ssid="network")
    port.step(0)
    assert str(port.error) == "Wifi Internal Error"
    assert not port.client.open
    port.wlan.error = None
    port.tried -= port_board.RETRY + 1
    port.step(0)
    assert port.wlan.calls[-1] == ("connect", "network", None)


def test_a_wlan_that_the_user_has_told_to_connect_is_left_alone_at_first():
    wlan = Wlan()
    port = made(wlan=wlan)
    port.step(0)
    assert wlan.calls == []
    port.tried -= port_board.RETRY + 1
    port.step(0)
    assert wlan.calls == [("active", True), ("disconnect",), ("connect",)]


def test_the_watchdog_is_fed_while_the_port_waits():
    watchdog = Wdt()
    port = made(wlan=Wlan(), watchdog=watchdog)
    for fed in range(1, 4):
        port.step(0)
        assert watchdog.fed >= fed


def test_without_live_nothing_is_announced():
    port = made()
    port.step(0)
    port.sleep(600)
    assert port.client.flags == 192
    assert port.client.written == ["disconnect"]


def test_live_has_a_will_and_announces_connection_and_sleep():
    port = made(live=True)
    assert port.client.flags == 192 | 4 | 8 | 32
    topic = b"edge/fleet-a/dev-1/live"
    assert port.client.fields == ("fleet-a.dev-1", topic, b"\x91\x00", "fleet-a/dev-1", "")
    port.step(0)
    port.sleep(600)
    body = b"\0" + bytes((len(topic),)) + topic
    packets = [
        b"\x33" + bytes((2 + len(topic) + len(value),)) + body + value
        for value in (b"\0\2\x92\x01\xcd\x01\x2c", b"\0\3\x92\x02\xcd\x02\x58")
    ]
    assert port.client.written == [packets[0], packets[1] + b"\xe0\0"]  # DISCONNECT is in the same write
    assert not port.client.open
    assert port.client.unread == 0


def test_a_sleep_whose_announcement_fails_keeps_the_state_nevertheless():
    for error in (OSError(104), MemoryError()):

        def write(buf, at, end):
            raise error

        port = made(live=True, woke=True)
        saved = []
        port.agent.store = saved.append
        port.step(0)
        saved.clear()
        port.client.write = write
        port.sleep(600)
        assert port.error is error
        assert len(saved) == 1


def test_a_device_that_only_wakes_announces_no_connection():
    port = made(live=True, woke=True)
    port.step(0)
    assert port.client.written == []
    port.sleep(600)
    assert len(port.client.written) == 1
