"""umqtt.simple or umqtt.robust in the place of the SDK's own client, for boards that have it already.

    Port(agent, "broker.local", "fleet-a", "dev-1", mqtt=over(MQTTClient)).run()

It can do no more than they: umqtt.simple waits for ever on a connection that is half open, umqtt.robust reconnects by
itself and waits as long; what was not confirmed goes again under another packet id. Everything else is the Port's.
"""

import select

from .mqtt import time


def over(kind):
    """For `Port(mqtt=...)`: the class `MQTTClient` of umqtt.simple or umqtt.robust."""

    def made(*arguments):
        return Umqtt(kind, *arguments)

    return made


class Umqtt:
    """What a Port needs of `Mqtt`, by a client of umqtt. Whatever that raises is an OSError here."""

    open = False
    unconfirmed = None

    def __init__(self, kind, host, port, flags, fields, keepalive, tls, size, on_message):
        name, user, password = fields
        more = {"ssl": tls} if tls else {}
        self._client = kind(name, host, port, user, password, keepalive, **more)
        self._client.set_callback(on_message)
        self._keepalive = keepalive

    def connect(self):
        """Returns whether the broker kept a session."""
        kept = self._do(self._client.connect, False)
        self.open = True
        self._poll = select.poll()
        self._poll.register(self._client.sock, select.POLLIN)
        self._wrote = time.ticks_ms()
        return bool(kept)

    def close(self):
        if self.open:
            self.open = False
            self._client.sock.close()

    def subscribe(self, topic, qos):
        self._do(self._client.subscribe, topic, qos)

    def publish(self, topic, p, qos, retain):
        """As Mqtt's, always with QoS 1."""
        self.unconfirmed = p
        self._topic = topic[2:]
        self._retain = retain
        self.resend(0)

    def resend(self, flags):
        p = self.unconfirmed
        self._do(self._client.publish, self._topic, bytes(p.buf[p.start : p.pos]), self._retain, 1)
        self.unconfirmed = None

    def poll(self, ms):
        """Waits up to ms for a message; keeps the connection alive."""
        if self._keepalive and time.ticks_diff(time.ticks_ms(), self._wrote) > self._keepalive * 750:
            self._wrote = time.ticks_ms()
            self._do(self._client.ping)
        for _ in self._poll.ipoll(ms):
            self._do(self._client.check_msg)

    def _do(self, call, *arguments):
        try:
            return call(*arguments)
        except Exception as error:  # umqtt's own, and its asserts
            raise OSError(repr(error))
