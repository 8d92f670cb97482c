"""The agent: what a device has to say now, and what a message that arrives means. It does no I/O.

Time is handed in (`now`: whole seconds that never go back), payloads are handed in and out; a port moves them. Nothing
that a broker delivers raises out of here.
"""

from binascii import crc32

from .heartbeat import Heartbeat
from .unpack import uint, unpack

_AGAIN = 60  # seconds for which the gateway remembers that a device is not registered


class Agent(Heartbeat):
    """One device.

    layout: the protocol's [agent_version, [[dimension, name, exponent?], ...], [[model, version, [metric, ...]], ...]].
    install, remove: called with a `Definition` as a plan demands; they fail by raising. Without them: no plans.
    measure: called with the agent just before each heartbeat is written, to sample what is read then.
    interval: seconds between heartbeats (each comes up to an eighth early, so that a fleet spreads).
    store: keeps what must outlive power (see `state.py`); None: nothing does.
    max_payload: bytes that the device takes in one payload, None for any. urls: whether plans carry S3 URLs.
    keep: samples that wait for the next heartbeat; the oldest is dropped for a new one.
    files: where model files are put, a path that ends with "/"; None: the device fetches them by its own means.
    """

    def __init__(
        self, layout, install=None, remove=None, measure=None, interval=60, store=None, max_payload=1024, urls=True,
        keep=32, files=None,
    ):  # fmt: skip
        Heartbeat.__init__(self, layout, keep)
        self.interval = interval
        self.store = store
        self.max_payload = max_payload
        self.measure = measure
        self._flags = None if urls else 1
        self.plans = None
        if install:
            from .plan import Plans  # a device without plans loads none of it

            self.plans = Plans(self, install, remove, files)
        self.fetch = False  # whether to ask the service for the plan, whatever the gateway believes
        self.seq = 0  # of the result, or of an ack that may set the clock
        self.bad = 0  # payloads that were no message of the protocol
        self.error = None  # what `measure`, or the last save, raised
        self.code = self.detail = None  # of the last ack
        self._said = 0

    def start(self, now, unix, tag, woke):
        """Once, before all else. `unix`: Unix seconds, None without a clock; `tag`: 16 random bits.

        woke: whether the device was asleep since `sleep`, so that its time goes on even without a clock.
        """
        saved = self.store and self.store.load()
        if type(saved) is not list or len(saved) != 6:
            saved = None, None, None, tag << 8, -1, None
        old, epoch, crc, self.seq, time, plans = saved
        if unix is not None and epoch is not None:
            time = unix - epoch
        elif not woke:
            time = -1
        self._crc = crc32(repr((self.layout, self.max_payload, self._flags)).encode())
        self.hello = time < 0 or crc != self._crc
        if not self.hello:
            tag = old
        elif tag == old:
            tag = tag + 1 & 0xFFFF
        self.tag = self._dither = tag
        self.epoch = unix if time < 0 else epoch
        self.now = self.due = now
        self.shift = max(0, time) - now  # to seconds since the epoch
        if plans and self.plans:
            self.plans.load(plans, time < 0)

    def clock(self, now, unix):
        """Whenever the device's clock may have been set right; None changes nothing."""
        self.now = now
        if unix is not None and self.epoch is not None:
            self.shift = unix - self.epoch - now

    def wait(self, now):
        """Seconds until something is due."""
        return 0 if self.hello or self.fetch else max(0, self.due - now)

    def poll(self, now, p):
        """Writes what is due into the Packer p and returns its channel; None where nothing is.

        What is written must be confirmed with `sent` before the next poll, or it is written again. It goes out with
        QoS 1, `hello` retained. ValueError where it does not fit p.
        """
        self.now = now
        plans = self.plans
        p.pos = p.start
        if self.hello:
            p.any((self.tag, self.layout, self.epoch, self.max_payload, self._flags))
            return "hello"
        if self.fetch:
            p.any((plans and plans.have,))
            return "get"
        if self.due > now + self.interval + _AGAIN:
            self.due = now  # `now` went back after all
        if self.due > now:
            return plans and plans.poll(p)
        self._drop(self.taken)  # the last heartbeat arrived, or was refused and nothing is taken
        if self.measure:
            try:
                self.measure(self)
            except Exception as error:  # a broken sensor stops no heartbeat, and its OSError is not the network's
                self.error = error
        hb = self.hb
        hb[0] = self.tag
        hb[1] = time = max(0, now + self.shift)
        if plans:
            hb[4] = plans.have
            hb[5] = plans.told(time)
        hb[6] = self.seq if hb[5] or self.epoch is None else None
        try:
            self.pack(p, now)
        except ValueError:
            if not hb[5]:
                raise
            hb[5][5] = ()  # how it ended is told without its models
            self.pack(p, now)
        self._next = now  # what did not fit follows at once
        if self.taken == self.count:
            self._dither = (self._dither * 75 + 74) % 65537
            self._next += self.interval - self._dither % (self.interval // 8 + 1)
        return "hb"

    def sent(self, channel):
        """The broker confirmed what the last poll wrote."""
        if channel == "hello":
            self.hello = False
            self._said = self.now
            self.save()
        elif channel == "get":
            self.fetch = False
        elif channel == "hb":
            self.since = self.now
            self.due = self._next

    def receive(self, channel, buf, start, end):
        """A payload, buf[start:end], came on "ack", "plan" or "block". It is not kept. Never raises."""
        try:
            if channel == "ack":
                self._ack(unpack(buf, start, end))
            elif end > start:  # an empty plan is none
                self.plans.receive(channel, unpack(buf, start, end))
        except Exception:  # whatever it is that a stranger makes of a payload, running out of memory too
            self.bad += 1

    def _ack(self, value):
        seq = value[0]
        if seq is not None:
            uint(seq)
        code = uint(value[1])
        time = uint(value[2])
        detail = value[3] if len(value) > 3 else None
        if detail is not None and type(detail) is not str:
            raise ValueError("detail")
        self.code = code
        self.detail = detail
        now = self.now
        mine = seq == self.seq
        if mine and self.epoch is None and now - self.since <= 10:
            self.epoch = time - now - self.shift
            self.hello = True
        if code in (2, 3, 7):
            self.taken = self.since = 0  # all of it goes into the next one again
            if code == 3:
                self.due = now + max(self.interval, _AGAIN)
            if code == 2:
                self.hello = True
                if now - self._said >= self.interval:  # one that does not help is tried once an interval
                    self.due = now
        elif code == 5:
            self.fetch = True
            if self.plans:
                self.plans.refused(detail)
        elif mine and code in (0, 1, 4) and self.plans and self.plans.result:
            self.plans.result = None
            self.seq += 1  # its own for each: no ack of an earlier message may settle the next
            self.save()

    def save(self, slept=None):
        """Keeps what must outlive power. slept: what `sleep` was told."""
        if self.store:
            # A hello that has not been published counts as none: the next boot publishes it.
            crc = None if self.hello else self._crc
            time = -1 if slept is None else self.now + self.shift + slept
            try:
                self.store.save((self.tag, self.epoch, crc, self.seq, time, self.plans and self.plans.dump()))
            except OSError as error:
                self.error = error
