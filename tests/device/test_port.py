"""The loop of a board over whatever its client raises: no exception leaves it, and what is due is done later."""

from device_sdk.agent import Agent
from device_sdk.port import Port
from tests.device.support import NOW, packed

LAYOUT = ["1.0.0", [["sys", "rssi"]], []]
TOPIC = b"edge/fleet-a/dev-1/plan"


class Client:
    """A client in the place of Mqtt whose broker takes everything in, and whose next poll may deliver or raise."""

    open = False
    unconfirmed = None

    def __init__(self, host, port, flags, fields, keepalive, tls, size, on_message):
        self.on_message = on_message
        self.published = []
        self.then = None
        self.connections = 0

    def connect(self):
        self.open = True
        self.connections += 1
        return False

    def close(self):
        self.open = False

    def subscribe(self, topic, qos):
        self.published.append(topic)

    def publish(self, topic, p, qos, retain):
        self.published.append(topic[2:].decode())

    def poll(self, ms):
        if self.then:
            then, self.then = self.then, None
            then()


def made(**more):
    installed = []
    agent = Agent(LAYOUT, lambda definition: installed.append(definition.handle), print)
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


def test_what_cannot_be_written_is_reported_and_raises_nothing():
    port, _, _ = made(size=10)
    for _ in range(3):
        step(port)
        assert type(port.error) is ValueError
        assert not port.client.open
