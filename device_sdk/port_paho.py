"""The port of a host: moves payloads between an agent and a paho-mqtt client that the user has made and connected.

Not for boards. It must never interpret messages: the agent does. paho reconnects, repeats unconfirmed publishes, and
runs in its own thread (`client.loop_start()`); the agent runs in the thread of run().
"""

import logging
import queue
import sys

from .heartbeat import Packer
from .host import time
from .log import Log, words
from .port import CHANNELS, random16, unix_time

RETRY = 1.0
"""Seconds before a denied publish is repeated; doubles after each denial."""
RETRY_MOST = 64.0
QUEUE_FULL = 15  # paho's MQTT_ERR_QUEUE_SIZE: it has not accepted the message


def _failure(reason, granted=0):
    # A failure as text; None: success. paho gives a ReasonCode; with callbacks of version 1 None or an int, where
    # values up to `granted` are success.
    if hasattr(reason, "is_failure"):
        return "%s (%d)" % (reason, reason.value) if reason.is_failure else None
    return "code %d" % reason if reason and reason > granted else None


class PahoPort:
    """client: a paho.mqtt.client.Client. The port sets its on_connect, on_disconnect, on_publish and on_subscribe, its
    on_connect_fail if it has none, and its callbacks for the device's topics. With MQTT 5 the broker reports a denied
    publish; with 3.1.1 it confirms it.

    size: bytes of the largest payload that the device sends. clock: returns Unix seconds, or None. log: the thread of
    run() calls it with one line for each refusal of the broker, and for what happens else, as in Port; None:
    refusals are warnings of the logger "device_sdk". live: announces on the channel `live` that the device is connected
    and, as the client's last will, that it is gone: if the client is connected already, it has no will.
    """

    error = None  # an OSError with the last such line; None after a confirmed publish

    def __init__(self, agent, client, fleet, device, root="edge", size=4096, clock=unix_time, log=None, live=False):
        self.agent = agent
        self._log = log or logging.getLogger("device_sdk").warning
        self._words = None
        self._client = client
        self._clock = clock
        self.root = "{}/{}/{}/".format(root, fleet, device)
        self._out = Packer(size, 0)
        self._events = queue.Queue(256)
        self._in_flight = None  # (channel, packet id)
        self._confirmed = {}  # packet id: the broker's reason code, or None
        self._subscription = None  # its packet id
        self._was_up = False
        self._wait = RETRY
        self._retry = 0.0  # monotonic time of the next publish
        self._started = time.monotonic()
        self._channels = CHANNELS[: 3 if agent.call[1] else 1]
        self.stopped = False
        if log:
            self._words = Log(log, self)
        agent.start(self.uptime(), clock(), random16(), False, self._out)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        self._live = live
        if client.on_connect_fail is None:
            client.on_connect_fail = self._on_connect_fail
        if live and not client.is_connected():
            client.will_set(self.root + "live", b"\x91\x00", 1, True)
        for channel in self._channels:
            client.message_callback_add(self.root + channel, self._on_message)
        if client.is_connected():
            self._was_up = True
            agent.open += 1
            self._subscribe()
            self._put(self._connected)

    def uptime(self):
        """Whole seconds since the port was made."""
        return int(time.monotonic() - self._started)

    def run(self):
        """Runs until stop() is called. Ctrl-C ends the program with the exit status 130."""
        try:
            while not self.stopped:
                self.step(1.0)
        except KeyboardInterrupt:
            if not self._live:  # otherwise the broker would delete the will
                self._client.disconnect()
                self._client.loop_stop()
            sys.exit(130)

    def stop(self):
        self.stopped = True
        self._put(self._wake)

    def step(self, seconds=0.0):
        """Do what is due, then wait up to `seconds` for the client's next event."""
        self._send()
        self.agent.update(self.uptime())  # where nothing can be sent
        try:
            event = self._events.get(timeout=min(seconds, self._max_wait())) if seconds else self._events.get_nowait()
        except queue.Empty:
            event = None
        while event is not None:
            function, *arguments = event
            function(*arguments)
            event = None if self._events.empty() else self._events.get_nowait()
        while self.agent.work(self.uptime):
            pass
        if self._words:
            self._words.look()

    def _max_wait(self):
        # Not 0: with a publish in flight, or without a connection, there is nothing to do.
        waiting = self._in_flight or not self._client.is_connected() or time.monotonic() < self._retry
        return 1.0 if waiting else max(0.001, self.agent.wait(self.uptime()))

    def _send(self):
        while self._is_confirmed() and self._client.is_connected() and time.monotonic() >= self._retry:
            now = self.uptime()
            if not self.agent.wait(now):  # each heartbeat is dated by the clock, which may have been set
                try:
                    self.agent.clock(now, self._clock())
                except Exception as error:  # of a broken clock
                    self.agent.error = error
            channel = self.agent.poll(now, self._out)
            if channel is None:
                return
            payload = bytes(self._out.buf[: self._out.pos])
            self._confirmed.clear()  # of the user's own publishes
            try:
                info = self._client.publish(self.root + channel, payload, 1, channel == "hello")
            except Exception as error:  # its thread may end the connection at any moment
                return self._refused(channel, "raised %r" % error)
            if info.rc == QUEUE_FULL:
                return self._refused(channel, "was not taken by the client: its queue is full")
            self._in_flight = channel, info.mid

    def _is_confirmed(self):
        if self._in_flight:
            channel, mid = self._in_flight
            if mid not in self._confirmed:
                return False
            self._in_flight = None
            failure = _failure(self._confirmed.pop(mid))
            if failure:
                self._refused(channel, "was denied by the broker: " + failure)
            else:
                self.error = None
                self._wait = RETRY
                self.agent.sent(channel)
        return True

    def _refused(self, channel, how):
        # A later message carries the same data.
        agent = self.agent
        if channel == "hb":
            agent.taken = agent.since = 0  # the next heartbeat carries all of it
        elif channel == "get":
            agent.fetch = False  # otherwise no heartbeat would be sent; the gateway answers their `have` with the plan
        self._retry = time.monotonic() + self._wait * (0.5 + random16() / 131072)  # a fleet must not retry together
        self._wait = min(2 * self._wait, RETRY_MOST)
        self._report("publish on %s%s %s" % (self.root, channel, how))

    def _report(self, line):
        self.error = OSError(line)
        if self._words:
            self._words.last.pop("up", None)  # the next connection is said again
        try:
            self._log(line)
        except Exception as error:  # of the user's function
            self.error = error

    def _subscribe(self):
        try:
            if self._live:
                p = Packer(16, 0)
                p.any((1, self.agent.interval))
                self._client.publish(self.root + "live", bytes(p.buf[: p.pos]), 1, True)
            self._subscription = self._client.subscribe([(self.root + channel, 1) for channel in self._channels])[1]
        except Exception as error:  # it would end paho's thread
            self._put(self._report, "subscribe raised %r" % error)

    def _granted(self, mid, reasons):
        if mid == self._subscription:
            for channel, reason in zip(self._channels, reasons):
                failure = _failure(reason, 2)
                if failure:
                    self._report("subscribe to %s%s was denied by the broker: %s" % (self.root, channel, failure))

    def _connected(self):
        if self._words:
            self._words.connected()

    def _failed(self, error):
        text = "not connected: " + words(error, False)
        if str(self.error) != text:
            self._report(text)

    def _wake(self):
        pass

    def _put(self, *event):
        # A function and its arguments for the thread of run().
        try:
            self._events.put_nowait(event)
        except queue.Full:
            pass  # the gateway repeats acks and plans; the queue must have a bound

    # Called by paho's thread

    def _on_connect(self, client, userdata, flags, reason, properties=None):
        failure = _failure(reason)
        if failure:
            return self._put(self._report, "the broker refuses the connection: " + failure)
        self._was_up = True
        self.agent.open += 1
        self._subscribe()
        self._put(self._connected)

    def _on_connect_fail(self, client, userdata):
        self._put(self._failed, sys.exc_info()[1])  # paho calls it while it handles the exception

    def _on_disconnect(self, client, userdata, *rest):
        was_up, self._was_up = self._was_up, False
        failure = _failure(rest[-2] if len(rest) > 1 else rest[0])
        if was_up and failure:
            self._put(self._report, "the connection ended: " + failure)

    def _on_publish(self, client, userdata, mid, reason=None, properties=None):
        self._confirmed[mid] = reason
        self._put(self._wake)

    def _on_subscribe(self, client, userdata, mid, reasons, properties=None):
        self._put(self._granted, mid, reasons)

    def _on_message(self, client, userdata, message):
        self._put(self.agent.receive, message.topic.rsplit("/", 1)[-1], message.payload)
