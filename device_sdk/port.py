"""The port of a board: moves payloads between an agent and the MQTT client, keeps time and state, and reconnects.

It must never interpret messages: the agent does. It runs on CPython too.
"""

import os

from .heartbeat import Packer
from .mqtt import Mqtt, field, time

CHANNELS = ("ack", "plan", "block")  # that a device subscribes to


def random16():
    a, b = os.urandom(2)
    return a << 8 | b


def unix_time(start=946684800 * (time.gmtime(0)[0] > 1999)):
    """Unix seconds. None: the clock is not set, its year is 2024 or earlier. start: of the clock's 0, 1970 or 2000."""
    now = int(time.time()) + start
    if now >= 1735689600:
        return now


def in_file(path):
    """An agent's `store` in a file. After a power cut it has the old or the new text. It also uses PATH.new."""
    new = path + ".new"

    def store(text=None):
        if text:
            with open(new, "w") as file:
                file.write(text)
        else:
            try:
                with open(path) as file:
                    return file.read()
            except OSError:  # FAT removes the old file before it renames the new one
                pass
        os.rename(new, path)
        return text or store()

    return store


class Port:
    """Connects an agent to its broker, as the user "fleet/device".

    clock: returns Unix seconds, or None while they are unknown. woke: whether the device wakes from a deep sleep that
    `agent.save(seconds)` announced. size: bytes of the largest payload that the device sends; ValueError if the hello
    does not fit it. An agent that accepts any payload accepts 16,000 bytes here. tls: as in `Mqtt`.
    mqtt: the class of the client, `Mqtt` or the result of `port_umqtt.over`. log: is called with each line about what
    happens, in words; None: nothing is logged.
    feed: attribute, a function without arguments, called at least each second while `step` waits: a watchdog's.
    """

    feed = int  # does nothing
    error = None  # exception that ended the last connection; None while connected
    wait = 500  # maximum ms before the next attempt to connect; doubles with each, until a heartbeat is confirmed

    def __init__(
        self, agent, host, fleet, device, password=None, port=1883, root="edge", tls=None, clock=unix_time, woke=False,
        keepalive=60, size=512, mqtt=Mqtt, log=None,
    ):  # fmt: skip
        agent.max_payload = agent.max_payload or 16000  # of what this client accepts
        self.agent = agent
        self.clock = clock
        user = fleet + "/" + device
        self.root = root = root + "/" + user + "/"
        self.topic = field(root + "hb")  # made once, since it is used most
        self.client = mqtt(
            host, port, 192, (fleet + "." + device, user, password or ""), keepalive, tls,
            agent.max_payload + len(root) + 9, self.receive,
        )  # fmt: skip
        self.p = Packer(size, len(root) + 14)
        self.at = self.due = time.ticks_ms()  # when the seconds were counted; when to connect next
        if log:
            from .log import start  # imported late, to save memory

            start(log, self)
        agent.start(0, clock(), random16(), woke, self.p)
        # The hello was published over a connection with all subscriptions. After a reset nobody knows what came later.
        self.client.granted = woke and agent.said == agent.hash
        self.now = self.now  # each access to a method allocates

    def now(self):
        """Whole seconds since the Port was made. Call it at least every few days, since ticks wrap."""
        passed = time.ticks_diff(time.ticks_ms(), self.at) // 1000
        self.at = time.ticks_add(self.at, passed * 1000)
        self.agent.now = now = self.agent.now + passed
        return now

    def run(self):
        """Never returns. On CPython it is host.run."""
        while True:
            self.step(1000)

    def step(self, ms):
        """Do what is due, then wait up to ms, 1000 at most, for messages. Never raises."""
        agent = self.agent
        client = self.client
        ms = min(ms, 1000)
        try:
            client.feed = feed = self.feed
            feed()
            try:
                if not client.open:
                    if self.error:  # it was tried
                        agent.update(self.now())
                    left = time.ticks_diff(self.due, time.ticks_ms())
                    if left > 0:
                        return time.sleep_ms(min(ms, left))
                    client.connect()
                    agent.open += 1
                    if not client.granted:
                        client.subscribe(self.root, CHANNELS[: 3 if agent.call[1] else 1], 1)
                while True:
                    if client.p:
                        client.send(self.p, 8)
                    else:
                        self.channel = channel = self.poll()
                        if not channel:
                            break
                        topic = self.topic if channel == "hb" else field(self.root + channel)
                        client.publish(topic, self.p, 1, channel == "hello")
                    agent.sent(self.channel)
                    if self.channel == "hb":  # a broker may accept each connection and close it at once
                        self.wait = 500
                    ms = 0
                self.error = None
                client.poll(min(ms, agent.wait(self.now()) * 1000))
            finally:
                while agent.work(self.now):
                    pass
        except Exception as error:  # of the network, or MemoryError
            self.error = error
            if not client.granted:  # the broker may have a session without the subscriptions
                agent.said = None
            try:
                client.close()
            except OSError:  # the same one, mostly
                pass
            # Full jitter: a fleet must not reconnect at the same time.
            self.due = time.ticks_add(time.ticks_ms(), random16() % self.wait)
            self.wait = min(self.wait * 2, 60000)

    def poll(self):
        agent = self.agent
        now = self.now()
        if not agent.wait(now):  # each heartbeat is dated by the clock, which may have been set
            try:
                agent.clock(now, self.clock())
            except Exception as error:  # of a broken clock
                agent.error = error
        return agent.poll(now, self.p)

    def receive(self, topic, payload):
        for channel in CHANNELS:
            if topic == (self.root + channel).encode():
                self.agent.receive(channel, payload)
