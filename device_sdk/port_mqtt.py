"""The shell of a board: moves payloads between an agent and the MQTT client, keeps the time, and reconnects.

Decides nothing about messages: that is the agent's part. Runs on CPython as well.
"""

from ._compat import random16, sleep_ms, ticks_add, ticks_diff, ticks_ms, unix_time
from .mqtt import Mqtt, room
from .pack import Packer


class Uptime:
    """Whole seconds since it was made, through the wrap of ticks; to be called once in some days at least."""

    def __init__(self):
        self._last = ticks_ms()
        self._ms = self._seconds = 0

    def __call__(self):
        now = ticks_ms()
        self._ms += ticks_diff(now, self._last)
        self._last = now
        self._seconds += self._ms // 1000
        self._ms %= 1000
        return self._seconds


class Port:
    """An agent's way to its broker.

    fleet, device: the names that the topics are made of; user: the MQTT user name, "fleet/device" where None.
    clock: gives Unix seconds, or None while it does not know them. timeout: seconds that any network call may take.
    size: bytes of the largest payload that the device sends. tls: an SSLContext. The rest is `Mqtt`'s.
    """

    def __init__(
        self, agent, host, fleet, device, password=None, user=None, port=1883, root="edge", tls=None, keepalive=60,
        timeout=10, clean=False, size=512, clock=unix_time,
    ):  # fmt: skip
        prefix = "{}/{}/{}/".format(root, fleet, device)
        self._topics = {}
        for channel in ("hello", "hb", "get", "plan", "ack"):
            self._topics[channel] = (prefix + channel).encode()
        self.agent = agent
        self.uptime = Uptime()
        name = "{}/{}".format(fleet, device)
        if agent.max_payload is None:
            raise ValueError("a port with a buffer of its own needs the agent's max_payload")
        self.client = Mqtt(
            host, port, name, name if user is None else user, password, keepalive, clean, None, tls, timeout * 1000,
            agent.max_payload + len(prefix) + 8, self._on_message,
        )  # fmt: skip
        self._out = Packer(size, room(self._topics["hello"]))
        self._channel = None
        self._clock = clock
        self._subscribed = False
        self._delay = 500  # ms before the next connection is tried, at most; doubles while it fails
        self._retry_at = ticks_ms()
        self.error = None  # the OSError that ended the last connection, None while one stands
        agent.start(self.uptime(), clock(), random16())

    def run(self):
        """For ever."""
        while True:
            self.step(1000)

    def step(self, ms=0):
        """Does what is due, then waits up to ms for messages. Raises nothing that the network does."""
        agent = self.agent
        try:
            if not self.client.connected and not self._connect(ms):
                return
            self._send()
            self.client.poll(min(ms, agent.wait(self.uptime()) * 1000))
        except OSError as error:
            self._broke(error)
        while agent.work(self.uptime):
            pass

    def _connect(self, ms):
        left = ticks_diff(self._retry_at, ticks_ms())
        if left > 0:
            sleep_ms(min(ms, left))
            return False
        present = self.client.connect()
        self.agent.set_clock(self.uptime(), self._clock())
        if not (present and self._subscribed):
            self.client.subscribe(self._topics["ack"])
            if self.agent.plans:
                self.client.subscribe(self._topics["plan"])
            self._subscribed = True
        if self.client.unconfirmed:
            self.client.resend()
            self.agent.sent(self._channel)
        self._delay = 500
        self.error = None
        return True

    def _send(self):
        while True:
            channel = self.agent.poll(self.uptime(), self._out)
            if channel is None:
                return
            self._channel = channel
            self.client.publish(self._topics[channel], self._out, 1, channel == "hello")
            self.agent.sent(channel)

    def _on_message(self, topic, buf, start, end):
        for channel in ("plan", "ack"):
            if topic == self._topics[channel]:
                self.agent.receive(channel, buf, start, end)

    def _broke(self, error):
        self.error = error
        self.client.close()
        # Full jitter: a fleet that lost its broker does not come back in step.
        self._retry_at = ticks_add(ticks_ms(), random16() % self._delay)
        self._delay = min(self._delay * 2, 60000)

    def close(self):
        """Takes leave of the broker; step() would connect again."""
        if self.client.connected:
            self.client.disconnect()
