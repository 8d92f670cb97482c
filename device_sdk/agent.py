"""The agent: what a device has to say now, and what a message means. What a plan demands, plan.py carries out.

Time is handed in (`now`: whole seconds that never go back), payloads are handed in and out; a port moves them. Nothing
that a broker delivers raises out of here. The reader of msgpack stands here as well: a module of its own would cost a
board half a kilobyte.
"""

import json
from binascii import crc32

from .heartbeat import Heartbeat


def read(buf, at, depth):
    # The object that begins at `at`, and where it ends: beyond the end of `buf` where it is cut short.
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
        # For the codes from 0xC4: in the low bits the size of the number that follows, above them what it says:
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
    """The one object that the msgpack in `payload` (bytes or a memoryview) is, at most 8 levels deep.

    A bin of more than 32 bytes comes as a memoryview of the payload. A bool, float, map or extension is nothing that a
    device is ever sent: it comes as None. Allocates no more than the payload's size warrants, whatever lengths it
    claims. ValueError, or IndexError, where it is none, or cut short.
    """
    value, end = read(memoryview(payload), 0, 8)
    if end != len(payload):
        raise ValueError
    return value


class Agent(Heartbeat):
    """One device.

    layout: the protocol's [agent_version, [[dimension, name, exponent?], ...], [[model, version, [metric, ...]], ...]].
    install, remove: called with a `Definition` as a plan demands, or a rollback (then it has no `path`, unless it was
    fetched for this plan); they fail by raising. Without them: no plans.
    measure: called with the agent just before a heartbeat is written, to sample what is read then; not before one that
    follows at once with what the last one had no room for.
    interval: seconds between heartbeats (each comes up to an eighth early, so that a fleet spreads).
    store: store(text) keeps what must outlive power, store() gives it back: `port.in_file(path)`, or a board's
    `RTC().memory`. None: nothing outlives it.
    max_payload: bytes that the device takes in one payload, None for any. urls: whether plans carry S3 URLs.
    keep: samples that wait for the next heartbeat; the oldest is dropped for a new one.
    files: where model files are put, a path that ends with "/"; None: the device fetches them by its own means.
    """

    def __init__(
        self, layout, install=None, remove=None, measure=None, interval=60, store=None, max_payload=1024, keep=32,
        files=None,
    ):  # fmt: skip
        Heartbeat.__init__(self, layout, keep)
        self.call = {0: remove, 1: install}
        self.measure = measure
        self.interval = interval
        self.store = store
        self.max_payload = max_payload
        self.files = files
        self.layout = layout
        self.fetch = False  # whether to ask the service for the plan, whatever the gateway believes
        self.bad = 0  # payloads that were no message of the protocol
        self.error = None  # what `measure`, the last save or the last bad payload raised
        self.code = self.detail = None  # of the last ack
        self.tag = self.epoch = None
        self.seq = 0  # of the result, or of an ack that may set the clock
        self.have = None  # digest of the plan that is carried out, 0 for none; None without callbacks
        self.result = None  # not yet acked, its times in seconds since the epoch
        self.said = None  # crc of what the hello says that the broker has
        self.done = []  # crcs of the deployments carried out: one that stands in the next plan too is not repeated
        self.file = None  # the File under way

    def start(self, now, unix, tag, woke):
        """Once, before all else. `unix`: Unix seconds, None without a clock; `tag`: 16 random bits.

        woke: whether the device was asleep since `save(seconds)`, so that its time goes on even without a clock.
        """
        try:
            saved = json.loads(self.store())
            self.tag, self.epoch, self.said, self.seq, wakes, self.have, self.done, self.result = saved
        except Exception:  # there is no store, nothing in it, or something else
            wakes = None
        if not self.result:
            self.seq += tag  # another one at each boot: an ack of an earlier one sets no clock and settles no result
        last = self.tag
        self.due = now
        self.shift = ((woke and wakes) or -1) - now  # to seconds since the epoch
        self.clock(now, unix)
        self.hash = crc32(repr((self.layout, self.max_payload, self.files)).encode())
        if self.said != self.hash:
            self.tag = tag ^ (tag == last)
        self.digest = self.have = self.call[1] and (self.have or 0)  # of the newest plan

    def clock(self, now, unix):
        """Whenever the device's clock may have been set right; None changes nothing."""
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
        """Seconds until the next heartbeat is due, where poll has nothing to say now."""
        return max(0, self.due - now)

    def poll(self, now, p):
        """Writes what is due into the Packer p and returns its channel; None where nothing is.

        It goes out with QoS 1, `hello` retained, and is confirmed with `sent` before the next poll; what the client has
        not confirmed, it sends again itself. ValueError where it does not fit p.
        """
        self.now = now
        p.pos = p.start
        if self.said != self.hash:
            flags = None if self.files is None else 1  # no URLs, please
            p.any((self.tag, self.layout, self.epoch, self.max_payload, flags))
            return "hello"
        if self.fetch:
            p.any((self.have,))
            return "get"
        if now < self.due:
            return self.file and self.file.poll(p, now)
        self.pop(self.taken)  # the last heartbeat arrived, or was refused and nothing is taken
        if self.measure and self.due != self.since:  # what follows at once must come to its end
            try:
                self.measure(self)
            except Exception as error:  # a broken sensor stops no heartbeat, and its OSError is not the network's
                self.error = error
        hb = self.hb
        hb[0] = self.tag
        hb[1] = time = max(0, now + self.shift)
        hb[4] = self.have
        hb[5] = result = self.result and list(self.result)
        hb[6] = None
        if result:
            hb[6] = self.seq
            for i in (3, 4):
                if result[i] is not None:
                    result[i] = max(0, time - result[i])
        elif self.epoch is None:  # its own: an ack that comes late, of another heartbeat, would set the clock wrong
            hb[6] = self.seq = self.seq + 1
        self.pack(p, now)
        self.due = self.since = now  # what did not fit follows at once
        if not 0 < self.taken < self.count:
            self.due += self.interval - (self.tag + now) * 75 % 65537 % (self.interval // 8 + 1)
        return "hb"

    def sent(self, channel):
        """The broker confirmed what the last poll wrote."""
        if channel == "hello":
            self.said = self.hash
            self.save(None)
        elif channel == "get":
            self.fetch = False

    def receive(self, channel, payload):
        """A payload (bytes or a memoryview) came on "ack", "plan" or "block". It is not kept. Never raises."""
        try:
            if payload:  # an empty plan is none
                value = unpack(payload)
                if channel == "ack":
                    self.ack(value)
                elif channel == "plan" and self.call[1]:
                    if value[0] != self.digest:
                        from .plan import Plan  # only now, for its memory

                        self.plan = Plan(self, value)
                elif self.file:
                    self.file.receive(value)
        except Exception as error:  # whatever it is that a stranger makes of a payload, running out of memory too
            self.bad += 1
            self.error = error

    def ack(self, value):
        seq, code, time, detail = (value + [None])[:4]
        now = self.now
        mine = seq == self.seq
        if mine and self.epoch is None and not self.result and now - self.since <= 10:
            self.epoch = time - now - self.shift
            self.said = None
        if 1 < code < 4 or (code == 7 and not self.file):  # with a file under way, it may well be about that
            self.taken = self.since = 0  # all of it goes into the next one again
            if code == 3:
                self.due = now + max(self.interval, 60)  # for so long the gateway remembers it
            if code == 2:
                self.said = None
        elif code == 5:
            self.fetch = True
            if self.file:
                self.file.refused(detail)
        elif code < 5 and mine and self.result:
            self.result = None
            self.seq += 1  # its own for each: no ack of an earlier message may settle the next
            self.save(None)
        self.code = code
        self.detail = detail

    def work(self, clock):
        """Carries out what of a plan can be carried out now. Returns whether anything was. clock: gives `now`."""
        return self.digest != self.have and self.plan.work(clock)

    def save(self, sleep):
        """Keeps what must outlive power. sleep: the seconds of the deep sleep that begins now, or None."""
        if self.store:
            wakes = sleep and self.now + self.shift + sleep
            state = self.tag, self.epoch, self.said, self.seq, wakes, self.have, self.done, self.result
            try:
                self.store(json.dumps(state))
            except Exception as error:
                self.error = error
