"""umqtt.simple or umqtt.robust instead of the SDK's client, for boards that already have it.

    Port(agent, "broker.local", "fleet-a", "dev-1", mqtt=over(MQTTClient)).run()

It has their limits: umqtt.simple waits forever on a half-open connection, umqtt.robust too, and it reconnects by
itself; an unconfirmed publish is repeated with another packet id. It must never interpret messages.
"""

import select

from .mqtt import time


def over(kind):
    """For `Port(mqtt=...)`: the class `MQTTClient` of umqtt.simple or umqtt.robust."""

    def made(*arguments):
        return Umqtt(kind, *arguments)

    return made


class Umqtt:
    """The interface of `Mqtt` over a client of umqtt. It raises only OSError."""

    open = granted = False
    p = feed = None

    def __init__(self, kind, host, port, flags, fields, keepalive, tls, size, on_message):
        name, user, password = fields
        self.broker = host, port
        more = {"ssl": tls} if tls else {}
        self._client = kind(name, host, port, user, password, keepalive, **more)
        self._client.set_callback(on_message)
        self._keepalive = keepalive

    def connect(self):
        """As in Mqtt."""
        self.open = True  # a connect that fails leaves a socket
        known = self.granted
        self.granted = False
        kept = self._do(self._client.connect, False)
        self._poll = select.poll()
        self._poll.register(self._client.sock, select.POLLIN)
        self._wrote = time.ticks_ms()
        self.granted = bool(kept and known)

    def close(self):
        if self.open:
            self.open = False
            if self._client.sock:
                self._client.sock.close()

    def disconnect(self):
        if self.open:
            self._do(self._client.disconnect)
            self.open = False

    def subscribe(self, root, topics, qos):
        """Returns when the broker has granted them."""
        for topic in topics:
            self._do(self._client.subscribe, (root + topic).encode(), qos)
        self.granted = True

    def publish(self, topic, p, qos, retain):
        """As in Mqtt, always with QoS 1."""
        self.p = p
        self._topic = topic[2:]
        self._retain = retain
        self.send(p, 0)

    def send(self, p, flags):
        self._do(self._client.publish, self._topic, bytes(p.buf[p.start : p.pos]), self._retain, 1)
        self.p = None

    def poll(self, ms):
        """Wait up to ms for a message; send PINGREQ if it is due."""
        if self._keepalive and time.ticks_diff(time.ticks_ms(), self._wrote) > self._keepalive * 750:
            self._wrote = time.ticks_ms()
            self._do(self._client.ping)
        for _ in self._poll.ipoll(ms):
            self._do(self._client.check_msg)

    def _do(self, call, *arguments):
        try:
            return call(*arguments)
        except Exception as error:  # umqtt's exceptions and asserts
            raise OSError(repr(error))
