"""The port for an asynchronous client: hello and heartbeats go out, plans come in, a new connection is subscribed."""

import asyncio

from device_sdk import port_async
from device_sdk.agent import Agent, unpack
from device_sdk.port_async import AsyncPort
from tests.device.support import LAYOUT, NOW, packed, raises


class Queue:
    """The messages of the client, to be iterated over."""

    def __init__(self):
        self.items = []
        self.there = asyncio.Event()

    def put(self, topic, payload):
        self.items.append((topic, payload, False))
        self.there.set()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self.items:
            self.there.clear()
            await self.there.wait()
        return self.items.pop(0)


class Client:
    """What mqtt_as's client has, with a gateway behind it that sends one plan and acks its result."""

    def __init__(self):
        self.queue = Queue()
        self.up = asyncio.Event()
        self.subscribed = []
        self.published = []
        self.done = asyncio.Event()

    async def connect(self):
        self.up.set()

    async def subscribe(self, topic, qos):
        self.subscribed.append((topic, qos))
        if topic.endswith("/plan"):
            self.queue.put(b"edge/f/d/plan", packed([7, [["d", 0, [["kws", 1]]]]]))

    async def publish(self, topic, payload, retain, qos):
        value = unpack(payload)
        self.published.append((topic, retain, qos, value))
        if topic.endswith("/hb") and len(value) > 5:
            self.queue.put(b"edge/f/d/ack", packed([value[6], 0, NOW]))
        elif topic.endswith("/hb") and value[4] == 7:
            self.done.set()


async def life(client, installed):
    agent = Agent(LAYOUT, lambda definition: installed.append(definition.handle), print, interval=1)
    task = asyncio.create_task(AsyncPort(agent, client, "f", "d").serve())
    await asyncio.wait_for(client.done.wait(), 20)
    client.done.clear()
    client.up.set()  # the connection broke, and is there again
    await asyncio.wait_for(client.done.wait(), 20)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


def test_without_install_it_subscribes_to_acks_alone():
    client = Counting()
    port = AsyncPort(Agent(LAYOUT, interval=1), client, "f", "d")
    raises(ValueError, asyncio.run, asyncio.wait_for(port.serve(), 20))
    assert client.subscribed == [("edge/f/d/ack", 1)]


class Broken(Client):
    """A client with an error that is none of the network."""

    async def subscribe(self, topic, qos):
        raise TypeError(13)


def test_an_exception_that_is_not_the_networks_ends_the_port():
    agent = Agent(LAYOUT, print, print)
    error = raises(TypeError, asyncio.run, asyncio.wait_for(AsyncPort(agent, Broken(), "f", "d").serve(), 20))
    assert error.args[0] == 13


class Cut(Client):
    """A client whose calls the network cuts from one on, three times, before or after the broker got them."""

    def __init__(self, first, late):
        super().__init__()
        self.first = first
        self.late = late
        self.calls = 0

    async def call(self, call, *arguments):
        self.calls += 1
        cut = self.first <= self.calls < self.first + 3
        if not cut or self.late:
            await call(*arguments)
        if cut:
            raise (OSError if self.calls % 2 else EOFError)(104)

    async def connect(self):
        await self.call(super().connect)

    async def subscribe(self, topic, qos):
        await self.call(super().subscribe, topic, qos)

    async def publish(self, *arguments):
        await self.call(super().publish, *arguments)


async def lives(clients, installed):
    tasks = []
    for client in clients:
        agent = Agent(LAYOUT, lambda definition: installed.append(definition.handle), print, interval=1)
        tasks.append(asyncio.create_task(AsyncPort(agent, client, "f", "d").serve()))
    for client in clients:
        await asyncio.wait_for(client.done.wait(), 20)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_wherever_the_network_is_cut_the_port_goes_on():
    clients = [Cut(first, late) for first in range(1, 6) for late in (False, True)]
    installed = []
    real = port_async.random16
    port_async.random16 = lambda: 10
    try:
        asyncio.run(lives(clients, installed))
    finally:
        port_async.random16 = real
    assert installed == ["kws"] * len(clients)
    assert min([client.calls - client.first for client in clients]) > 2


def test_a_plan_reaches_the_agent_and_its_result_is_reported():
    client = Client()
    installed = []
    asyncio.run(life(client, installed))
    assert [each[:3] for each in client.published[:2]] == [("edge/f/d/hello", True, 1), ("edge/f/d/hb", False, 1)]
    assert installed == ["kws"]
    topics = [("edge/f/d/" + channel, 1) for channel in ("ack", "plan", "block")]
    assert client.subscribed == topics * 2


class Counting(Client):
    """Ends after three heartbeats."""

    def beats(self):
        return [value[1] for topic, _, _, value in self.published if topic.endswith("/hb")]

    async def publish(self, topic, payload, retain, qos):
        self.published.append((topic, retain, qos, unpack(payload)))
        if len(self.beats()) > 2:
            raise ValueError("done")


def test_each_heartbeat_is_dated_by_the_clock_that_was_set_meanwhile():
    client = Counting()
    agent = Agent(LAYOUT, interval=1)
    port = AsyncPort(agent, client, "f", "d", clock=lambda: NOW + (0, 300, 100)[len(client.beats())])
    raises(ValueError, asyncio.run, asyncio.wait_for(port.serve(), 20))
    assert client.beats() == [0, 300, 100]


def test_the_log_says_in_words_what_happens():
    lines = []
    client = Cut(1, False)
    agent = Agent(LAYOUT, print, print, interval=1)
    real = port_async.random16
    port_async.random16 = lambda: 10
    port = AsyncPort(agent, client, "f", "d", log=lines.append)

    async def until_done():
        task = asyncio.create_task(port.serve())
        await asyncio.wait_for(client.done.wait(), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        asyncio.run(until_done())
    finally:
        port_async.random16 = real
    assert lines[0].startswith("not connected: ")
    lines = lines[1:]
    for line in (
        "connected",
        "the broker has confirmed the hello",
        "plan 7, deployment d: deploy kws",
        "deployment d: SUCCESS",
        "the result of d is with the service",
        "the Edge Manager accepts the heartbeats: the device is registered",
    ):
        assert line in lines, lines


class Stuck(Client):
    """A client whose publish waits for a connection that does not come, as mqtt_as's does."""

    async def publish(self, topic, payload, retain, qos):
        await Queue().__anext__()


async def waits(client, agent):
    task = asyncio.create_task(AsyncPort(agent, client, "f", "d").serve())
    await asyncio.wait_for(client.done.wait(), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_it_measures_on_schedule_while_a_publish_waits_for_a_connection():
    def measure(agent):
        agent.sample("rssi", -60)
        if agent.count == 3:
            client.done.set()

    client = Stuck()
    agent = Agent(LAYOUT, measure=measure, interval=1)
    asyncio.run(waits(client, agent))
    assert agent.count == 3
    assert agent.open == 1
