"""The shell of a host: moves payloads between an agent and a paho-mqtt client that the user has made and connected.

Not for boards. Decides nothing about messages: that is the agent's part. paho itself keeps the connection, sends again
what the broker has not confirmed, and runs in its own thread (`client.loop_start()`); the agent runs in that of run().
"""

import queue
import time

from .heartbeat import Packer
from .port import CHANNELS, random16, unix_time


class PahoPort:
    """client: a paho.mqtt.client.Client; its on_connect and its callbacks for this device's topics are taken over.

    size: bytes of the largest payload that the device sends. clock: gives Unix seconds, or None.
    """

    def __init__(self, agent, client, fleet, device, root="edge", size=4096, clock=unix_time):
        self.agent = agent
        self._client = client
        self._prefix = "{}/{}/{}/".format(root, fleet, device)
        self._out = Packer(size, 0)
        self._events = queue.Queue(256)
        self._under_way = None  # (channel, paho's message info)
        self._started = time.monotonic()
        self.stopped = False
        agent.start(self.uptime(), clock(), random16(), False)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        for channel in CHANNELS:
            client.message_callback_add(self._prefix + channel, self._on_message)
        if client.is_connected():
            self._subscribe()

    def uptime(self):
        return int(time.monotonic() - self._started)

    def run(self):
        """Until stop() is called."""
        while not self.stopped:
            self.step(1.0)

    def stop(self):
        self.stopped = True
        self._put(None)

    def step(self, seconds=0.0):
        """Does what is due, then waits up to `seconds` for the client's next event."""
        self._send()
        try:
            event = self._events.get(timeout=min(seconds, self._patience())) if seconds else self._events.get_nowait()
        except queue.Empty:
            event = None
        while event is not None:
            self.agent.receive(*event)
            event = None if self._events.empty() else self._events.get_nowait()
        while self.agent.work(self.uptime):
            pass

    def _patience(self):
        # Not 0: with a publish under way, or no connection, there is nothing to do but wait.
        waiting = self._under_way or not self._client.is_connected()
        return 1.0 if waiting else max(0.001, self.agent.wait(self.uptime()))

    def _send(self):
        while self._settled() and self._client.is_connected():
            channel = self.agent.poll(self.uptime(), self._out)
            if channel is None:
                return
            payload = bytes(self._out.buf[: self._out.pos])
            info = self._client.publish(self._prefix + channel, payload, 1, channel == "hello")
            self._under_way = channel, info

    def _settled(self):
        if self._under_way:
            channel, info = self._under_way
            if not info.is_published():
                return False
            self._under_way = None
            self.agent.sent(channel)
        return True

    def _subscribe(self):
        self._client.subscribe([(self._prefix + channel, 1) for channel in CHANNELS])

    def _put(self, event):
        try:
            self._events.put_nowait(event)
        except queue.Full:
            pass  # acks and plans come again; a queue without bound would not

    # paho's thread

    def _on_connect(self, client, userdata, flags, reason, properties=None):
        self._subscribe()
        self._put(None)

    def _on_publish(self, client, userdata, mid, reason=None, properties=None):
        self._put(None)

    def _on_message(self, client, userdata, message):
        self._put((message.topic.rsplit("/", 1)[-1], message.payload))
