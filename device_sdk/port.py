"""The shell of a board: moves payloads between an agent and the MQTT client, keeps time and state, and reconnects.

Decides nothing about messages: that is the agent's part. Runs on CPython as well.
"""

import os

from .heartbeat import Packer
from .mqtt import Mqtt, field, time

CHANNELS = ("ack", "plan", "block")  # that a device subscribes to


def random16():
    return int.from_bytes(os.urandom(2), "big")


def unix_time():
    """Unix seconds, or None: a clock that says 2024 or earlier has never been set (some ports count from 2000)."""
    if time.gmtime()[0] > 2024:
        return int(time.time()) + (946684800 if time.gmtime(0)[0] == 2000 else 0)


def in_file(path):
    """An agent's `store` in a file: the old text or the new one, whenever power fails. PATH.new is its scratch."""

    def store(text=None):
        if not text:
            with open(path) as file:
                return file.read()
        new = path + ".new"
        with open(new, "w") as file:
            file.write(text)
        os.rename(new, path)

    return store


class Port:
    """An agent's way to its broker, as the user "fleet/device".

    clock: gives Unix seconds, or None while it does not know them. woke: whether the device comes from a deep sleep
    that `agent.save(seconds)` announced. size: bytes of the largest payload that the device sends. tls: as `Mqtt`'s.
    mqtt: the class of the client, `Mqtt` or what `port_umqtt.over` gives.
    """

    error = None  # what ended the last connection, an OSError mostly; None while one stands
    subscribed = False
    wait = 500  # ms before the next connection is tried, at most; doubles while it fails

    def __init__(
        self, agent, host, fleet, device, password=None, port=1883, root="edge", tls=None, clock=unix_time, woke=False,
        keepalive=60, size=512, mqtt=Mqtt,
    ):  # fmt: skip
        self.agent = agent
        self.clock = clock
        user = fleet + "/" + device
        self.root = root = root + "/" + user + "/"
        self.topic = field(root + "hb")  # the one that is written often stands ready
        self.client = mqtt(
            host, port, 192, (fleet + "." + device, user, password or ""), keepalive, tls,
            (agent.max_payload or 16000) + len(root) + 9, self.receive,
        )  # fmt: skip
        self.p = Packer(size, len(root) + 14)
        self.at = self.due = time.ticks_ms()  # when the agent's seconds were counted; when the next connection is tried
        agent.start(0, clock(), random16(), woke)

    def now(self):
        """Whole seconds since this was made, through the wrap of ticks; to be called once in some days at least."""
        passed = time.ticks_diff(time.ticks_ms(), self.at) // 1000
        self.at = time.ticks_add(self.at, passed * 1000)
        self.agent.now += passed
        return self.agent.now

    def run(self):
        """For ever."""
        while True:
            self.step(1000)

    def step(self, ms):
        """Does what is due, then waits up to ms for messages. Raises nothing."""
        agent = self.agent
        client = self.client
        try:
            try:
                if not client.open:
                    left = time.ticks_diff(self.due, time.ticks_ms())
                    if left > 0:
                        return time.sleep_ms(min(ms, left))
                    self.connect()
                while True:
                    self.channel = channel = agent.poll(self.now(), self.p)
                    if not channel:
                        break
                    topic = self.topic if channel == "hb" else field(self.root + channel)
                    client.publish(topic, self.p, 1, channel == "hello")
                    agent.sent(channel)
                client.poll(min(ms, agent.wait(self.now()) * 1000))
            finally:
                while agent.work(self.now):
                    pass
        except Exception as error:  # of the network, or for want of memory
            self.error = error
            client.close()
            # Full jitter: a fleet that lost its broker does not come back in step.
            self.due = time.ticks_add(time.ticks_ms(), random16() % self.wait)
            self.wait = min(self.wait * 2, 60000)

    def connect(self):
        client = self.client
        kept = client.connect()
        self.agent.clock(self.now(), self.clock())
        if not (kept and self.subscribed):
            for channel in CHANNELS:
                client.subscribe(self.root + channel, 1)
            self.subscribed = True
        if client.unconfirmed:
            client.resend(8)
            self.agent.sent(self.channel)
        self.wait = 500
        self.error = None

    def receive(self, topic, payload):
        for channel in CHANNELS:
            if topic == (self.root + channel).encode():
                self.agent.receive(channel, payload)
