"""The shell of a board: moves payloads between an agent and the MQTT client, keeps the time, and reconnects.

Decides nothing about messages: that is the agent's part. Runs on CPython as well.
"""

from os import urandom

from .mqtt import Mqtt, time
from .pack import Packer


def random16():
    return int.from_bytes(urandom(2), "big")


def unix_time():
    """Unix seconds, or None: a clock that says 2024 or earlier has never been set (some ports count from 2000)."""
    if time.gmtime()[0] > 2024:
        return int(time.time()) + (946684800 if time.gmtime(0)[0] == 2000 else 0)


class Port:
    """An agent's way to its broker, as the user "fleet/device".

    clock: gives Unix seconds, or None while it does not know them. woke: whether the device comes from a deep sleep
    that `agent.save(seconds)` announced. size: bytes of the largest payload that the device sends. tls: as `Mqtt`'s.
    """

    def __init__(
        self, agent, host, fleet, device, password=None, port=1883, root="edge", tls=None, clock=unix_time, woke=False,
        keepalive=60, size=512,
    ):  # fmt: skip
        self.agent = agent
        self.clock = clock
        self._root = root + "/" + fleet + "/" + device + "/"
        self._topics = {}
        for channel in ("hello", "hb", "get", "read"):
            self._topics[channel] = (self._root + channel).encode()
        self.client = Mqtt(
            host, port, 192, (fleet + "." + device, fleet + "/" + device, password or ""), keepalive, tls,
            agent.max_payload + len(self._root) + 9, self._on_message,
        )  # fmt: skip
        self._out = Packer(size, len(self._root) + 14)
        self._channel = None  # of what stands in _out
        self._subscribed = False
        self._delay = 500  # ms before the next connection is tried, at most; doubles while it fails
        self.error = None  # the OSError that ended the last connection, None while one stands
        self._ticks = time.ticks_ms()
        self._retry = self._ticks
        self._ms = self._seconds = 0
        agent.start(0, clock(), random16(), woke)

    def now(self):
        """Whole seconds since this was made, through the wrap of ticks; to be called once in some days at least."""
        ticks = time.ticks_ms()
        self._ms += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        self._seconds += self._ms // 1000
        self._ms %= 1000
        return self._seconds

    def run(self):
        """For ever."""
        while True:
            self.step(1000)

    def step(self, ms):
        """Does what is due, then waits up to ms for messages. Raises nothing that the network does."""
        agent = self.agent
        client = self.client
        try:
            if client.open:
                while True:
                    channel = agent.poll(self.now(), self._out)
                    if not channel:
                        break
                    self._channel = channel
                    client.publish(self._topics[channel], self._out, 1, channel == "hello")
                    agent.sent(channel)
                client.poll(min(ms, agent.wait(self.now()) * 1000))
            else:
                left = time.ticks_diff(self._retry, time.ticks_ms())
                if left > 0:
                    time.sleep_ms(min(ms, left))
                else:
                    self._connect()
        except OSError as error:
            self.error = error
            client.close()
            # Full jitter: a fleet that lost its broker does not come back in step.
            self._retry = time.ticks_add(time.ticks_ms(), random16() % self._delay)
            self._delay = min(self._delay * 2, 60000)
        while agent.plans and agent.plans.work(self.now):
            pass

    def _connect(self):
        client = self.client
        kept = client.connect()
        self.agent.clock(self.now(), self.clock())
        if not (kept and self._subscribed):
            for channel in ("ack", "plan", "block") if self.agent.plans else ("ack",):
                client.subscribe(self._root + channel, 1)
            self._subscribed = True
        if client.unconfirmed:
            client.resend()
            self.agent.sent(self._channel)
        self._delay = 500
        self.error = None

    def _on_message(self, topic, buf, start, end):
        self.agent.receive(str(topic[len(self._root) :], "utf-8"), buf, start, end)
