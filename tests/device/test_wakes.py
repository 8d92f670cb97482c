"""A device that sleeps or loses its power between connections which are cut at any packet: its subscriptions never get
lost for ever. The real client, port and agent, over a network and a broker in memory.
"""

import device_sdk.mqtt as mqtt
from device_sdk.agent import Agent
from device_sdk.port import Port
from device_sdk.port_board import BoardPort
from tests.device.support import NOW, Memory

LAYOUT = ["1.0.0", [["sys", "rssi"]], []]
ANSWERS = {1: b"\x20\x02", 3: b"\x40\x02", 8: b"\x90\x05"}


class Broker:
    """It keeps one session. The connection ends at the packets with these numbers, counted in both directions."""

    def __init__(self, cuts, late, forgets):
        self.cuts = cuts
        self.late = late  # whether the broker got the packet that was cut
        self.forgets = forgets  # whether it loses the session at the first cut
        self.count = 0
        self.topics = None  # subscriptions of the session; None: there is none
        self.kinds = []  # of the packets that it got

    def cut(self):
        self.count += 1
        if self.count not in self.cuts:
            return False
        if self.forgets and self.count == min(self.cuts):
            self.topics = None
        return True

    def got(self, packet):
        """Its answer."""
        kind = packet[0] >> 4
        self.kinds.append(kind)
        if kind == 1:
            kept = self.topics is not None
            self.topics = self.topics or set()
            return bytes((0x20, 2, kept, 0))
        if kind == 3:
            at = 4 + packet[3] if packet[1] < 128 else 5 + packet[4]
            return b"\x40\x02" + packet[at : at + 2]
        if kind == 8:
            n = 0
            at = 4
            while at < len(packet):
                end = at + 2 + packet[at + 1]
                self.topics.add(bytes(packet[at + 2 : end]))
                at = end + 1
                n += 1
            return bytes((0x90, 2 + n)) + packet[2:4] + b"\1" * n
        return b""


class Socket:
    """A connection to the broker, which is also its poller."""

    broker = None

    def __init__(self, *family):
        self.came = b""
        self.dead = False

    def settimeout(self, seconds):
        pass

    def connect(self, address):
        pass

    def close(self):
        self.dead = True

    def write(self, buf, at, n):
        broker = self.broker
        self.check()
        if self.dead:  # nothing arrives any more; what came before is still read
            return n
        self.dead = broker.cut()
        answer = broker.got(bytes(buf[at : at + n])) if broker.late or not self.dead else b""
        if answer and not self.dead:
            self.dead = broker.cut()
            self.came += b"" if self.dead else answer
        return n

    def readinto(self, buf, n):
        self.check()
        n = min(n, len(self.came))
        buf[:n] = self.came[:n]
        self.came = self.came[n:]
        return n or None

    def check(self):
        if self.dead and not self.came:
            raise OSError(104)


class network:  # noqa: N801
    """In the place of both `socket` and `select`."""

    socket = Socket

    @staticmethod
    def getaddrinfo(host, port, family, type):
        return [(2, 1, 6, "", (host, port))]

    class poll:  # noqa: N801
        def register(self, stream, flags):
            self.of = stream, flags

        def ipoll(self, ms):
            stream, flags = self.of
            return [1] if flags == 4 or stream.dead or stream.came else []


def fails(*arguments):
    raise ValueError(13)


def wake(broker, memory, woke, loses_power=False, install=print, kind=Port, **more):
    """One wake, of four steps at most. Returns its agent, and whether it sleeps, or lost its power at a cut."""
    agent = Agent(LAYOUT, install, install, interval=600, store=memory)
    port = kind(agent, "", "f", "d", clock=lambda: NOW, woke=woke, **more)
    before = broker.count
    steps = 4
    while (agent.busy or not agent.wait(port.now())) and steps:
        port.due = port.at
        port.step(0)
        steps -= 1
        if loses_power and any(before < cut <= broker.count for cut in broker.cuts):
            return agent, False
    if kind is BoardPort:
        port.sleep(600)
        return agent, True
    try:
        port.client.disconnect()
    except OSError:
        pass
    agent.save(600)
    return agent, True


def in_memory(test):
    """Runs the test with this network."""

    def run():
        real = mqtt.socket, mqtt.select
        mqtt.socket = mqtt.select = network
        try:
            test()
        finally:
            mqtt.socket, mqtt.select = real

    return run


@in_memory
def test_a_program_that_takes_plans_since_a_sleep_subscribes_to_them():
    Socket.broker = broker = Broker((), False, False)
    memory = Memory()
    for install in (None, None, print, print):
        wake(broker, memory, True, install=install)
        broker.kinds.append(len(broker.topics))
    first, asleep, changed, again = [1, 8, 3, 3, 14, 1], [1, 3, 14, 1], [1, 8, 3, 3, 14, 3], [1, 3, 14, 3]
    assert broker.kinds == first + asleep + changed + again


@in_memory
def test_whatever_is_cut_the_session_gets_its_subscriptions_again():
    for number in range(8):
        late, forgets, loses_power = number & 1, number & 2, number & 4
        for first in range(1, 18):
            for second in range(first + 1, first + 6):
                Socket.broker = broker = Broker((first, second), late, forgets)
                memory = Memory()
                woke = False
                while broker.count < second:
                    _, woke = wake(broker, memory, woke, loses_power)
                for _ in range(2):
                    agent, woke = wake(broker, memory, woke)
                where = late, forgets, loses_power, first, second
                assert not agent.busy, where
                assert broker.topics and len(broker.topics) == 3, where
                broker.kinds = []
                wake(broker, memory, woke)
                assert broker.kinds == [1, 3, 14], where  # nothing is subscribed again


@in_memory
def test_so_does_a_board_that_announces_itself_and_whose_log_raises():
    more = {"kind": BoardPort, "live": True, "log": fails}
    for number in range(8):
        late, forgets, loses_power = number & 1, number & 2, number & 4
        for first in range(1, 18):
            second = first + 1 + first % 3
            Socket.broker = broker = Broker((first, second), late, forgets)
            memory = Memory()
            woke = False
            while broker.count < second:
                _, woke = wake(broker, memory, woke, loses_power, **more)
            for _ in range(2):
                agent, woke = wake(broker, memory, woke, **more)
            where = late, forgets, loses_power, first, second
            assert not agent.busy, where
            assert broker.topics and len(broker.topics) == 3, where
            broker.kinds = []
            wake(broker, memory, woke, **more)
            assert broker.kinds == [1, 3, 3], where  # the last one announces the sleep
