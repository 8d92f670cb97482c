"""The agent: makes a device's messages and handles those from the gateway. plan.py carries out the plans.

No I/O: a port passes in the time (`now`: whole seconds that never go back) and the payloads. A message from the broker
must never make it raise. The msgpack decoder is here too: a separate module would cost a board half a kilobyte.
"""

import json
from binascii import crc32

from .heartbeat import Heartbeat


def read(buf, at, depth):
    # The object that begins at `at`, and its end: beyond the end of `buf` if it is incomplete.
    n = buf[at]
    at += 1
    if n < 0x80:
        return n, at
    if n >= 0xE0:
        return n - 256, at
    if n < 0xC0:
        kind = max(5, 7 - (n - 0x80 >> 4))
        n &= 31 if kind == 5 else 15
    elif n < 0xC4:
        if n == 0xC1:
            raise ValueError
        return None, at
    else:
        # For the codes from 0xC4: the low bits are the size of the number that follows, the high bits its meaning:
        # 0 bytes of a bin, 1 of an extension, 5 of a str, 2 a float, 3 a uint, 4 an int, 6 elements, 7 pairs.
        kind = b"\1\2\4\x11\x12\x14\x24\x28\x31\x32\x34\x38ABDH\x10\x10\x10\x10\x10QRTbdrt"[n - 0xC4]
        size = kind & 15
        kind >>= 4
        n = int.from_bytes(buf[at : at + size], "big") if size else 1 << n - 0xD4
        at += size
        if kind == 2:
            return None, at
        if kind == 3:
            return n, at
        if kind == 4:
            return n - (n >> 8 * size - 1 << 8 * size), at
    if n > len(buf):  # more bytes, or elements, than there are
        raise ValueError
    if kind > 5:
        n <<= kind - 6
        if not depth:
            raise ValueError
        data = []
        while n:
            value, at = read(buf, at, depth - 1)
            data.append(value)
            n -= 1
        return None if kind > 6 else data, at
    n += at + (kind == 1)
    if kind:
        return None if kind == 1 else str(buf[at:n], "utf-8"), n
    return buf[at:n] if n - at > 32 else bytes(buf[at:n]), n  # a block is not copied; what may be kept, is


def unpack(payload):
    """Decode the one msgpack object in `payload` (bytes or a memoryview), at most 8 levels deep.

    A bin of more than 32 bytes becomes a memoryview of the payload. A bool, float, map or extension becomes None: no
    device gets one. False lengths in the payload cause no large allocation. Raises ValueError or IndexError if it is
    wrong or incomplete.
    """
    value, end = read(memoryview(payload), 0, 8)
    if end != len(payload):
        raise ValueError
    return value


class Agent(Heartbeat):
    """One device.

    layout: the protocol's [agent_version, [[dimension, name, exponent?], ...], [[model, version, [metric, ...]], ...]].
    install, remove: called with a `Definition` for a plan, or for a rollback (then `path` is the model's old file, if
    there is one). An exception is a failure. `install` None: the device takes no plans.
    measure: called with the agent when a heartbeat is due, with or without a connection, to take samples. Not called
    before one that only carries a result, or the samples for which the last one was too small.
    interval: seconds between heartbeats, 1 or more (each is up to an eighth early, to spread the fleet).
    store: store(text) saves the state, store() returns it after a restart: `port.in_file(path)`, or a board's
    `RTC().memory`. None: nothing is saved.
    max_payload: largest payload that the device accepts, in bytes, 64 or more; None: any.
    keep: samples that can wait for the next heartbeat, at least one of each metric. A new one replaces the oldest.
    files: folder for model files, a path that ends with "/"; None: the device downloads them itself.
    vitals: whether the device samples those of the names in vitals.py that its layout has.
    Raises ValueError for an interval or a max_payload that is too small.
    """

    fetch = False  # whether to ask the service for the plan
    bad = 0  # payloads that could not be decoded
    error = None  # the last exception of the clock, `measure`, the store, the start of a download, or a payload
    replace = False  # whether a model's old file goes before the download, where the flash has no room for both

    def __init__(
        self, layout, install=None, remove=None, measure=None, interval=60, store=None, max_payload=1024, keep=32,
        files=None, vitals=False,
    ):  # fmt: skip
        if not interval >= 1:
            raise ValueError("interval")
        if not (max_payload is None or max_payload >= 64):
            raise ValueError("max_payload")
        Heartbeat.__init__(self, layout, keep)
        self.call = {0: remove, 1: install}
        self.measure = measure
        self.interval = interval
        self.store = store
        self.max_payload = max_payload
        self.files = files
        self.seq = 0  # of the result, or of an ack that may set the clock
        self.code = self.detail = None  # of the last ack
        self.tag = self.epoch = None
        self.have = None  # digest of the plan that is carried out, 0: none; None without callbacks
        self.result = None  # not yet acked, its times in seconds since the epoch
        self.said = None  # crc of the hello that the broker has confirmed
        self.file = None  # the Definition whose file is downloaded
        self.open = 0  # connections that were opened; the port counts them
        self.done = []  # crcs of the deployments carried out: one that is in the next plan too is not repeated
        if vitals:
            from .vitals import add

            add(self)

    def start(self, now, unix, tag, woke, p=None):
        """Call it once, first. `unix`: Unix seconds, None without a clock; `tag`: 16 random bits.

        woke: whether the device slept since `save(seconds)`: then its time continues even without a clock.
        p: the Packer that `poll` will get. Raises ValueError if the hello, or a sample of some metric, does not fit.
        """
        wakes = None
        try:
            saved = json.loads(self.store())
            if saved.pop() == crc32(json.dumps(saved).encode()):  # the same for tuples and the lists that JSON makes
                self.tag, self.epoch, self.said, self.seq, wakes, self.have, self.done, self.result = saved
        except Exception:  # noqa: S110 - no store, an empty one, or not the whole of what `save` wrote
            pass
        if not self.result:
            self.seq += tag  # new at each boot: an ack of an earlier one must set no clock and confirm no result
        last = self.tag
        self.due = self.at = now  # of the next heartbeat, and when to measure next
        self.shift = ((woke and wakes) or -1) - now  # to seconds since the epoch
        self.clock(now, unix)
        self.hash = crc32(repr((self.layout, self.max_payload, self.files, not self.call[1])).encode())
        if self.said != self.hash:
            self.tag = tag ^ (tag == last)
        # Of the newest plan. A 0 in `done` is a deployment to be tried again after a restart.
        self.digest = self.have = self.call[1] and (((woke or 0 not in self.done) and self.have) or 0)
        if self.result:
            from .plan import replace

            replace(self)
        if p:
            p.pos = p.start
            self.hello(p, 65535, 1 << 31)
            # A heartbeat with one sample has 45 bytes, one for each metric before it, and 14 for each model.
            if p.start + 45 + self.size + 14 * len(self.layout[2]) > len(p.buf):
                raise ValueError("size")

    def clock(self, now, unix):
        """Call it when the device's clock may have been set; None changes nothing."""
        self.now = now
        if None not in (unix, self.epoch):
            self.shift = unix - self.epoch - now
        if self.shift + now < 0:  # another epoch: the clock was set back, or it is another boot, without a clock
            self.shift = -now
            self.epoch = unix
            self.said = None
            self.tag = (self.tag or 0) + 1 & 65535
            if self.result:
                self.result[3] = self.result[4] = None

    def wait(self, now):
        """Seconds until the next heartbeat is due, if poll has returned None."""
        return max(0, self.due - now)

    @property
    def busy(self):
        """Whether a hello, a plan, a file or a result is under way: a device that sleeps deeply stays awake for it."""
        return bool(self.result or self.fetch or self.said != self.hash or self.digest != self.have)

    def update(self, now):
        """Measure, if it is time to. `poll` does it too: a port calls it while it cannot send."""
        self.now = now
        if now >= self.at:
            self.at = now + self.interval - (self.tag + now) * 75 % 65537 % (self.interval // 8 + 1)
            try:
                if self.measure:
                    self.measure(self)
            except Exception as error:  # a broken sensor stops no heartbeat, and its OSError is not the network's
                self.error = error

    def poll(self, now, p):
        """Write the message that is due into the Packer p, and return its channel. None: no message is due.

        Publish it with QoS 1, `hello` as retained. Call `sent` after the PUBACK, before the next poll. The client must
        repeat an unconfirmed publish itself. Raises ValueError if the message does not fit p.
        """
        p.pos = p.start
        if self.said != self.hash:
            self.hello(p, self.tag, self.epoch)
            return "hello"
        if self.fetch:
            p.any((self.have,))
            return "get"
        self.update(now)
        if now < self.due:
            return self.file and self.file.poll(p, now)
        self.pop(self.taken)  # the last heartbeat arrived, or was rejected and nothing is taken
        hb = self.hb
        hb[0] = self.tag
        hb[1] = time = max(0, now + self.shift)
        hb[4] = self.have
        hb[5] = result = self.result and list(self.result)
        hb[6] = result and self.seq
        if result:
            for i in b"\3\4":
                if result[i] is not None:
                    result[i] = max(0, time - result[i])
        elif self.epoch is None:  # a new one: a late ack of another heartbeat would set a wrong clock
            hb[6] = self.seq = self.seq + 1
        self.pack(p, now)
        self.since = now
        self.due = now if 0 < self.taken < self.count else self.at  # samples that did not fit are sent at once
        return "hb"

    def hello(self, p, tag, epoch):
        # 1: no URLs, please
        p.any((tag, self.layout, epoch, self.max_payload, 1 - (self.files is None) or None))

    def sent(self, channel):
        """The broker has confirmed the message of the last poll."""
        if channel == "hello":
            self.said = self.hash
            self.save(None)
        elif channel == "get":
            self.fetch = False

    def receive(self, channel, payload):
        """Handle a payload (bytes or a memoryview) of "ack", "plan" or "block". It is not kept. Never raises."""
        try:
            if payload:  # an empty payload deletes a retained plan
                value = unpack(payload)
                if channel == "ack":
                    self.ack(value)
                elif channel == "plan" and self.call[1]:
                    if value[0] != self.digest:
                        from .plan import Plan  # imported late, to save memory

                        Plan(self, value)
                elif self.file:
                    self.file.receive(value)
        except Exception as error:  # of any payload that somebody may send, MemoryError too
            self.bad += 1
            self.error = error

    def ack(self, value):
        seq, code, time, detail = (value + [None])[:4]
        now = self.now
        mine = seq == self.seq
        if mine and self.epoch is None and not self.result and now - self.since <= 10:
            self.epoch = time - now - self.shift
            self.said = None
        if code in (2, 3) or (code == 7 and not self.file):  # during a download it may be about that
            self.taken = self.since = 0  # the next heartbeat carries all of it
            if code == 3:
                self.due = now + max(self.interval, 60)  # the gateway remembers it for so long
            if code == 2:
                self.said = None
        elif code == 5:
            self.fetch = True
            if self.file:
                self.file.refused(detail)
        elif code < 5 and mine and self.result:
            from .plan import replace

            replace(self)  # once more: for want of memory it may not have moved all files
            self.result = None
            self.seq += 1  # a new one for each result: an ack of an earlier message must not confirm the next
            self.save(None)
        self.code = code
        self.detail = detail

    def work(self, clock):
        """Carry out a part of the plan, if that is possible now. Returns whether it did. clock: returns `now`."""
        return self.digest != self.have and self.plan.work(clock)

    def save(self, sleep):
        """Save the state. sleep: seconds of the deep sleep that begins now, or None."""
        wakes = sleep and self.now + self.shift + int(sleep)
        state = [self.tag, self.epoch, self.said, self.seq, wakes, self.have, self.done, self.result]
        try:
            if self.store:
                self.store(json.dumps(state + [crc32(json.dumps(state).encode())]))
            if sleep and self.file:
                self.file.file.flush()  # the next boot goes on behind it
        except Exception as error:
            self.error = error
