"""The agent: what a device has to say now, and what a message that arrives means. It does no I/O.

Time is handed in (`now`: whole seconds that never go back), payloads are handed in and out; a port moves them. Nothing
that a broker delivers raises out of here.
"""

from . import wire
from ._compat import crc32
from .heartbeat import Heartbeat

HELLO = "hello"
HB = "hb"
GET = "get"
_VERSION = 1  # of the saved state
_SETTLED = (wire.ACCEPTED, wire.MALFORMED, wire.REFUSED)  # after these a result is sent no more
_FRESH = 10  # seconds after a heartbeat in which its ack may set the clock
_NOT_REGISTERED = 60  # seconds for which the gateway remembers that a device is not registered


class Agent:
    """One device.

    layout: the protocol's [agent_version, [[dimension, name, exponent?], ...], [[model, version, [metric, ...]], ...]].
    install, remove: called with a `Definition` as a plan demands; they fail by raising. Without them: no plans.
    measure: called with the agent just before each heartbeat is written, to sample what is read then.
    interval: seconds between heartbeats (each comes up to an eighth early, so that a fleet spreads).
    store: keeps what must outlive power (see `state.FileStore`); None: nothing does.
    max_payload: bytes that the device takes in one payload, None for any. urls: whether plans carry S3 URLs.
    keep: samples that wait for the next heartbeat, at most 255; the oldest is dropped for a new one.
    """

    def __init__(
        self, layout, install=None, remove=None, measure=None, interval=60, store=None, max_payload=1024, urls=True,
        keep=32,
    ):  # fmt: skip
        self.heartbeat = Heartbeat(layout, keep)
        self.plans = None
        if install:
            from .plan import Plans  # a device without plans loads none of it

            self.plans = Plans(install, remove)
        self._measure = measure
        self._interval = interval
        self._store = store
        self.max_payload = max_payload
        self._flags = 0 if urls else 1
        self._crc = crc32(repr((layout, max_payload, urls)).encode())
        self.now = 0
        self.tag = self.epoch = None
        self._shift = 0  # from `now` to seconds since the epoch
        self._hello = True
        self._hello_at = None
        self._get = False
        self._due = 0
        self._in_flight = False  # the last heartbeat was taken by the broker, and no refusal of it has come
        self._sent_at = None
        self._seq = 0
        self._dither = 0
        self.bad = 0  # payloads that were no message of the protocol
        self.failed = None  # what measure raised last
        self.unsaved = None  # the OSError of the last save, where it failed
        self.code = 0  # of the last ack, with its detail
        self.detail = None

    def start(self, now, unix, tag):
        """Once, before all else. `unix`: Unix seconds, None without a clock; `tag`: 16 random bits."""
        saved = self._store.load() if self._store else None
        if type(saved) is not list or saved[:1] != [_VERSION]:
            saved = [_VERSION, None, None, None, 0, None]
        _, old_tag, old_epoch, crc, self._seq, plans = saved
        if unix is not None and old_epoch is not None and old_epoch <= unix:
            self.epoch = old_epoch
            self._hello = crc != self._crc
        else:
            self.epoch = unix
        if not self._hello:
            tag = old_tag
        elif tag == old_tag:
            tag = (tag + 1) & 0xFFFF
        self.tag = self._dither = tag
        self._seq = self._seq or tag << 8
        self._due = now
        self.set_clock(now, unix)
        if plans and self.plans:
            self.plans.load(plans, None if self.epoch is None or old_epoch is None else old_epoch - self.epoch)

    def set_clock(self, now, unix):
        """Whenever the device's clock may have been set right; None changes nothing."""
        self.now = now
        if unix is not None and self.epoch is not None:
            self._shift = unix - self.epoch - now

    def sample(self, metric, value, now=None):
        """Keeps a sample for the next heartbeat: of "name", "model/name" or the slot's number.

        value: an int or a finite float; where the metric has an exponent, in units of 10^exponent. now: when it was
        taken, the last `now` that the agent saw where None. ValueError for anything else.
        """
        self.heartbeat.sample(metric, value, self.now if now is None else now)

    def inference(self, model, now=None):
        """Notes that the model (its name or its index in the layout) ran."""
        self.heartbeat.inference(model, self.now if now is None else now)

    def fetch(self):
        """Asks the service for the plan with the next message, whatever the gateway believes."""
        self._get = True

    def wait(self, now):
        """Seconds until something is due."""
        return 0 if self._hello or self._get else max(0, self._due - now)

    def poll(self, now, p):
        """Writes what is due into the Packer p and returns its channel; None where nothing is.

        What is written must be confirmed with `sent` before the next poll, or it is written again. It goes out with
        QoS 1, `hello` retained. ValueError where it does not fit p.
        """
        self.now = now
        p.reset()
        if self._hello:
            wire.hello(p, self.tag, self.heartbeat.layout, self.epoch, self.max_payload, self._flags)
            return HELLO
        if self._get:
            wire.get(p, self.plans.have if self.plans else None)
            return GET
        if self._due > now + self._interval + _NOT_REGISTERED:
            self._due = now  # `now` went back after all
        if self._due > now:
            return None
        if self._in_flight:
            self.heartbeat.settle()
            self._in_flight = False
        if self._measure:
            try:
                self._measure(self)
            except Exception as error:  # a broken sensor stops no heartbeat, and an OSError of it is not the network's
                self.failed = error
        self._pack(p, now)
        return HB

    def _pack(self, p, now):
        plans = self.plans
        result = plans.results[0] if plans and plans.results else None
        seq = self._seq if result or self.epoch is None else None
        have = plans.have if plans else None
        time = max(0, now + self._shift)
        try:
            whole = self.heartbeat.pack(p, self.tag, time, now, have, result, seq)
        except ValueError:
            if not result:
                raise
            # The result exceeds the buffer: how it ended is told without its models.
            whole = self.heartbeat.pack(p, self.tag, time, now, have, result[:5] + [[]], seq)
        if whole:
            self._dither = (self._dither * 75 + 74) % 65537
            self._next = now + self._interval - self._dither % (self._interval // 8 + 1)
        else:
            self._next = now  # what did not fit follows at once

    def sent(self, channel):
        """The broker confirmed what the last poll wrote."""
        if channel == HELLO:
            self._hello = False
            self._hello_at = self.now
            self._save()
        elif channel == GET:
            self._get = False
        else:
            self._in_flight = True
            self._sent_at = self.now
            self._due = self._next

    def receive(self, channel, buf, start=0, end=None):
        """A payload, buf[start:end], came on the channel "ack" or "plan". It is not kept. Never raises."""
        try:
            if channel == "ack":
                self._ack(*wire.ack(buf, start, end))
            elif channel == "plan" and self.plans and (end is None or end > start):
                self.plans.receive(buf, start, end)
        except (ValueError, MemoryError):
            self.bad += 1

    def work(self, clock):
        """Carries out the next deployment of a plan, where there is one: calls install and remove.

        clock: a callable that gives `now`. Returns whether there may be more to do.
        """
        plans = self.plans
        if not plans:
            return False
        waiting = len(plans.results)
        self.now = clock()
        if not plans.work(self.now + self._shift):
            return False
        self.now = clock()
        if len(plans.results) > waiting:
            plans.results[-1][4] = self.now + self._shift
            if not waiting:
                self._next_result()
        self._save()
        return True

    def _next_result(self):
        # Its seq is its own: no ack of an earlier message may settle it.
        self._seq += 1
        if self.plans.results:
            self._due = self.now

    def _ack(self, seq, code, time, detail):
        self.code = code
        self.detail = detail
        if self.epoch is None and seq == self._seq and self.now - self._sent_at <= _FRESH:
            self.epoch = time - self.now
            self._hello = True
        if code == wire.UNKNOWN_TAG:
            self._refused(self.now)
        elif code == wire.NOT_REGISTERED:
            self._refused(None)
            self._due = self.now + max(self._interval, _NOT_REGISTERED)
        elif code == wire.UNKNOWN_PLAN:
            self._get = True
        elif code == wire.GAVE_UP:
            self._refused(None)
        elif code in _SETTLED and seq == self._seq and self.plans and self.plans.results:
            self.plans.results.pop(0)
            self._next_result()
            self._save()

    def _refused(self, again):
        if self._in_flight:
            self.heartbeat.release()
            self._in_flight = False
        if again is not None and (self._hello_at is None or again - self._hello_at >= self._interval):
            self._due = again  # at once; yet a hello that does not help is tried once an interval
        if again is not None:
            self._hello = True

    def _save(self):
        if not self._store:
            return
        # A hello that has not been published counts as none: the next boot publishes it.
        crc = None if self._hello else self._crc
        plans = self.plans.dump() if self.plans else None
        try:
            self._store.save([_VERSION, self.tag, self.epoch, crc, self._seq, plans])
            self.unsaved = None
        except OSError as error:
            self.unsaved = error
