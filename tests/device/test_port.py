"""The loop of a board over whatever its client raises: no exception leaves it, and what is due is done later."""

from device_sdk.agent import Agent
from device_sdk.mqtt import time
from device_sdk.port import Port
from tests.device.support import NOW, packed, raises, read

LAYOUT = ["1.0.0", [["sys", "rssi"]], []]
TOPIC = b"edge/fleet-a/dev-1/plan"


class Client:
    """A client in the place of Mqtt whose broker takes everything in, and whose next poll may deliver or raise."""

    open = granted = False
    p = None

    def __init__(self, host, port, flags, fields, keepalive, tls, size, on_message):
        self.on_message = on_message
        self.published = []
        self.then = None
        self.connections = 0

    def connect(self):
        self.open = True
        self.granted = False
        self.connections += 1

    def close(self):
        self.open = False

    def subscribe(self, root, topics, qos):
        self.published += [root + each for each in topics]
        self.granted = True

    def publish(self, topic, p, qos, retain):
        self.published.append(topic[2:].decode())

    def poll(self, ms):
        self.waited = ms
        if self.then:
            then, self.then = self.then, None
            then()


def made(models=(), **more):
    installed = []
    agent = Agent(LAYOUT[:2] + [models], lambda definition: installed.append(definition.handle), print)
    port = Port(agent, "", "fleet-a", "dev-1", clock=lambda: NOW, mqtt=Client, **more)
    return port, agent, installed


def step(port):
    """The next one that waits for no reconnecting."""
    port.due = port.at
    port.step(0)


def test_it_connects_subscribes_and_publishes_what_is_due():
    port, _, _ = made()
    step(port)
    prefix = "edge/fleet-a/dev-1/"
    assert port.client.published == [prefix + channel for channel in ("ack", "plan", "block", "hello", "hb")]
    assert port.error is None


def test_without_install_it_subscribes_to_acks_alone():
    port = Port(Agent(LAYOUT), "", "fleet-a", "dev-1", clock=lambda: NOW, mqtt=Client)
    step(port)
    assert port.client.published[:2] == ["edge/fleet-a/dev-1/ack", "edge/fleet-a/dev-1/hello"]


def test_a_step_that_has_sent_something_does_not_wait():
    port, _, _ = made()
    port.step(500)
    assert port.client.waited == 0  # the caller may have nothing to wait for
    port.step(500)
    assert port.client.waited == 500
    port.step(60000)
    assert port.client.waited == 1000  # a watchdog is fed, a PINGREQ sent in time


def test_each_step_feeds_the_watchdog_while_there_is_no_connection_too():
    fed = []
    port, _, _ = made()
    port.feed = lambda: fed.append(1)
    port.client.connect = lambda: port.client.missing
    for n in (1, 2, 3):
        port.step(0)
        assert len(fed) == n
    assert type(port.error) is AttributeError


def test_a_connection_that_breaks_at_each_publish_is_tried_less_and_less():
    port, _, _ = made()
    port.client.publish = lambda topic, p, qos, retain: port.client.missing
    waits = []
    for _ in range(9):
        step(port)
        waits.append(port.wait)
    assert waits == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]
    del port.client.publish
    step(port)
    assert (port.wait, port.error) == (500, None)


def test_a_connection_that_is_closed_as_soon_as_it_is_open_is_tried_less_and_less_too():
    port, agent, _ = made()
    step(port)
    agent.wait = lambda now: 1
    waits = []
    for _ in range(9):
        port.client.then = lambda: port.client.missing
        step(port)
        waits.append(port.wait)
    assert waits == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]
    del agent.wait
    agent.due = 0
    step(port)
    assert (port.wait, port.error) == (500, None)


def test_a_topic_of_another_is_no_message():
    port, agent, _ = made()
    step(port)
    for topic in (b"edge/fleet-a/dev-2/ack", b"ack", b"edge/fleet-a/dev-1/hb", b"\xff", b""):
        port.receive(topic, b"\xff")
    assert agent.bad == 0
    port.receive(TOPIC, b"\xff")
    assert agent.bad == 1


def test_whatever_ends_a_connection_leaves_nothing_undone():
    plan = packed([7, [["d", 0, [["kws", 1]]]]])
    for error in (OSError(104), MemoryError(), ValueError("unconfirmed")):

        def then():
            port.receive(TOPIC, plan)
            raise error

        port, _, installed = made()
        port.client.then = then
        step(port)
        assert installed == ["kws"]
        assert port.error is error
        assert not port.client.open
        step(port)
        assert port.error is None
        assert port.client.connections == 2


def test_a_size_for_which_the_hello_or_a_heartbeat_is_too_large_is_the_callers_error():
    raises(ValueError, lambda: made(size=10))
    raises(ValueError, lambda: made(size=44))  # enough for the hello
    raises(ValueError, lambda: made([("m" * 40, "1", [])] * 12))
    for models in ([], [("m%d" % n, "1", [["a", "b"]]) for n in range(30)]):
        for size in range(45, 600):
            try:
                port, agent, _ = made(models, size=size)
            except ValueError:
                continue
            break
        for metric in ["rssi"] + ["m%d/b" % n for n in range(len(models))]:
            for model in range(len(models)):
                agent.inference(model, -(1 << 31))
            agent.sample(metric, (1 << 64) - 1, -(1 << 31))
            agent.due = agent.now
            step(port)
            assert port.error is None
            agent.pop(agent.taken)
            assert agent.count == 0


def test_a_device_that_takes_any_payload_says_what_its_client_takes():
    agent = Agent(LAYOUT, max_payload=None)
    Port(agent, "", "f", "d", mqtt=Client)
    assert agent.max_payload == 16000


class Away(Client):
    """A client whose broker is away until it is `there`."""

    there = False

    def connect(self):
        if not self.there:
            self.open = self.cut_later
            raise OSError(113)
        return Client.connect(self)


def test_it_measures_on_schedule_while_connecting_fails_and_sends_all_of_it():
    for cut_later in (False, True):  # whether the failure leaves the client open, as one after the TCP connection does
        count = [0]

        def measure(agent):
            count[0] += 1
            agent.sample("rssi", count[0])

        agent = Agent(LAYOUT, measure=measure, interval=1)
        port = Port(agent, "", "f", "d", clock=lambda: NOW, mqtt=Away)
        port.client.cut_later = cut_later
        step(port)
        assert count == [0], "before the first attempt"
        for second in range(1, 30):
            port.at = time.ticks_add(port.at, -1000)  # a second passes
            if second % 2:
                step(port)
            else:
                port.due = time.ticks_add(time.ticks_ms(), 50000)  # it waits before the next attempt
                port.step(0)
            assert count == [second]
        assert agent.open == 0
        port.client.there = True
        step(port)
        assert port.error is None
        assert (agent.open, agent.count, agent.taken) == (1, 29, 29)
        port.client.close()
        step(port)
        assert agent.open == 2


class Broker:
    """What a broker has of a device: its session, which the first cut ends, and its retained plan."""

    def __init__(self, cuts, late):
        self.cuts = cuts  # numbers of the calls that are cut
        self.late = late  # whether the broker got what was cut
        self.calls = 0
        self.session = None
        self.waiting = []

    def call(self, effect):
        self.calls += 1
        cut = self.calls in self.cuts
        if cut and not self.late:
            self.lose()
            raise OSError(104)
        value = effect()
        if cut:
            self.lose()
            raise OSError(104)
        return value

    def lose(self):
        if self.calls == min(self.cuts):
            self.session = None
            self.waiting = []


class Cut(Client):
    """A client of that broker. Closing a connection that was cut raises too."""

    broker = None

    def connect(self):
        self.open = True
        known = self.granted
        self.granted = False
        self.granted = self.broker.call(self._connect) and known

    def _connect(self):
        kept = self.broker.session is not None
        self.broker.session = self.broker.session or set()
        return kept

    def close(self):
        if self.open:
            self.open = False
            raise OSError(104)

    def subscribe(self, root, topics, qos):
        self.broker.call(lambda: self._subscribe([root + each for each in topics]))
        self.granted = True

    def _subscribe(self, topics):
        self.broker.session.update(topics)
        if TOPIC.decode() in topics:
            self.broker.waiting.append((TOPIC, packed([7, [["d", 0, [["kws", 1]]]]])))

    def publish(self, topic, p, qos, retain):
        self.p = p
        self.send(p, 0)

    def send(self, p, flags):
        self.broker.call(self._publish)
        self.p = None

    def _publish(self):
        p = self.p
        value = read(bytes(p.buf[p.start : p.pos]))
        if len(value) == 7 and value[5]:
            self.broker.waiting.append((TOPIC[:-4] + b"ack", packed([value[6], 0, NOW])))

    def poll(self, ms):
        self.broker.call(lambda: None)
        while self.broker.waiting:
            self.on_message(*self.broker.waiting.pop(0))


def test_wherever_the_network_is_cut_the_loop_goes_on_and_nothing_is_missing():
    for late in (False, True):
        for first in range(1, 14):
            for second in range(first + 1, first + 8):
                installed = []
                agent = Agent(LAYOUT, lambda definition: installed.append(definition.handle), print)
                port = Port(agent, "", "fleet-a", "dev-1", clock=lambda: NOW, mqtt=Cut)
                port.client.broker = broker = Broker((first, second), late)
                for _ in range(12):
                    step(port)
                    agent.due = 0
                assert installed == ["kws"], (late, first, second)
                assert (agent.have, agent.result, port.error) == (7, None, None)
                assert len(broker.session) == 3, (late, first, second)


class Dated(Client):
    """A client whose broker keeps the heartbeats."""

    def publish(self, topic, p, qos, retain):
        value = read(bytes(p.buf[p.start : p.pos]))
        if topic.endswith(b"/hb"):
            self.published.append(value[1])


def test_each_heartbeat_is_dated_by_the_clock_that_was_set_meanwhile():
    unix = [NOW]
    agent = Agent(LAYOUT)
    port = Port(agent, "", "fleet-a", "dev-1", clock=lambda: unix[0], mqtt=Dated)
    for second in (NOW, NOW + 300, NOW + 60, None, NOW + 3600):
        unix[0] = second
        agent.due = 0
        step(port)
    assert port.client.published[1:] == [0, 300, 60, 60, 3600]
    unix.clear()  # the clock raises
    agent.due = 0
    step(port)
    assert port.client.published[6:] == [3600]
    assert type(agent.error) is IndexError
    assert (port.client.connections, port.error) == (1, None)
