"""The agent: what a device has to say now, what a message means, and how a deployment plan is carried out.

Time is handed in (`now`: whole seconds that never go back), payloads are handed in and out; a port moves them. Nothing
that a broker delivers raises out of here, nor does a callback that fails: it becomes a StatusReason. One result waits
at a time: the next deployment is begun when the cloud has the last one's.
"""

import json
from binascii import crc32

from .files import Definition, File
from .heartbeat import Heartbeat
from .unpack import unpack


class Agent(Heartbeat):
    """One device.

    layout: the protocol's [agent_version, [[dimension, name, exponent?], ...], [[model, version, [metric, ...]], ...]].
    install, remove: called with a `Definition` as a plan demands; they fail by raising. Without them: no plans.
    measure: called with the agent just before each heartbeat is written, to sample what is read then.
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
        self.hello = [None, layout, None, max_payload, None if files is None else 1]  # 1: no URLs, please
        self.fetch = False  # whether to ask the service for the plan, whatever the gateway believes
        self.bad = 0  # payloads that were no message of the protocol
        self.error = None  # what `measure`, or the last save, raised
        self.code = self.detail = None  # of the last ack
        self.tag = self.epoch = None
        self.seq = 0  # of the result, or of an ack that may set the clock
        self.have = install and 0  # digest of the plan that is carried out
        self.result = None  # not yet acked, its times in seconds since the epoch
        self.said = None  # crc of the hello that the broker has
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
        self.seq += tag  # another one at each boot: an ack of an earlier one sets no clock and settles no result
        self.due = now
        self.shift = ((woke and wakes) or -1) - now  # to seconds since the epoch
        self.clock(now, unix)
        if self.shift + now < 0:
            self.shift = -now
            self.epoch = unix
            self.said = None
            if self.result:
                self.result[3] = self.result[4] = None  # they were of another boot
        self.hash = crc32(repr(self.hello).encode())
        if self.said != self.hash:
            self.tag = tag ^ (tag == self.tag)
        self.digest = self.have  # of the newest plan

    def clock(self, now, unix):
        """Whenever the device's clock may have been set right; None changes nothing."""
        self.now = now
        if unix is not None and self.epoch is not None:
            self.shift = unix - self.epoch - now

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
            self.hello[0] = self.tag
            self.hello[2] = self.epoch
            p.any(self.hello)
            return "hello"
        if self.fetch:
            p.any((self.have,))
            return "get"
        if now < self.due:
            return self.file and self.file.poll(p, now)
        self.pop(self.taken)  # the last heartbeat arrived, or was refused and nothing is taken
        if self.measure:
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
            self.save()
        elif channel == "get":
            self.fetch = False

    def receive(self, channel, payload):
        """A payload (bytes or a memoryview) came on "ack", "plan" or "block". It is not kept. Never raises."""
        try:
            if payload:  # an empty plan is none
                value = unpack(payload)
                if channel == "ack":
                    self._ack(value)
                elif channel == "plan" and self.have is not None:
                    self._plan(value)
                elif self.file:
                    self.file.receive(value)
        except OSError as error:  # of the flash
            self.file.fail(str(error))
        except Exception:  # whatever it is that a stranger makes of a payload, running out of memory too
            self.bad += 1

    def _ack(self, value):
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
            self.save()
        self.code = code
        self.detail = detail

    def _plan(self, value):
        digest, deployments = value[:2]
        if digest >> 30:  # negative, or too large to be one
            raise ValueError
        plan = []
        done = []
        for each in deployments:
            name, policy, definitions, kind = (each + [None] * 4)[:4]
            same = [name, policy]  # what makes a deployment another one: not a size, which may become known, nor a URL
            steps = []
            for values in definitions or ():
                step = Definition(*values)
                if kind not in (None, "Model"):
                    step.reason = "unknown type"
                same += step.handle, step.state, step.checksum
                steps.append(step)
            crc = crc32(repr(same).encode())
            if crc in self.done:
                done.append(crc)
            plan.append((crc, name, policy, steps))
        if digest != self.digest:
            self.digest = digest
            self.plan = plan
            self.done = done
            self.began = self.now + self.shift
            if self.file:
                self.file.file.close()
            self.file = None

    def work(self, clock):
        """Carries out what of a plan can be carried out now. Returns whether anything was. clock: gives `now`."""
        if self.digest == self.have:
            return False
        index = 0
        for crc, name, policy, steps in self.plan:
            if crc not in self.done:
                if self.result or (self.files is not None and self._fetch(steps, index)):
                    return False
                message = self._perform(steps, policy == 1)
                rows = []
                for s in steps:
                    good = int(not s.reason)
                    rows.append((s.handle, s.name, s.version, s.state, s.now, good, s.reason, s.rollback))
                ended = clock() + self.shift
                self.result = [name, "FAIL" if message else "SUCCESS", message, self.began, ended, rows]
                self.seq += 1  # the last one may have gone with a heartbeat that asked for the time
                self.began = ended
                self.done.append(crc)
                self.due = self.now
                break
            index += len(steps)
        else:
            self.have = self.digest
        self.save()
        return True

    def _fetch(self, steps, index):
        # Whether a file is still on its way.
        for step in steps:
            if step.state == 1 and step.waits():
                if not self.file or self.file.step is not step:
                    try:
                        self.file = File(step, self.digest, index, self.files, self.max_payload)
                    except Exception as error:
                        step.reason = str(error)
                if step.waits():
                    return True
            index += 1
        self.file = None

    def _try(self, step, state):
        # None, or why it failed.
        try:
            self.call[state](step)
            step.now = state
        except Exception as error:
            return (str(error) or type(error).__name__)[:120]

    def _perform(self, steps, goes_on):
        # None, or why it failed. DO_NOTHING goes on after a failure and leaves what was done. ROLLBACK_ON_FAILURE (and
        # any policy unknown here) stops at the first and undoes what was done, the last first.
        message = None
        done = []
        for step in steps:
            if message and not goes_on:
                step.reason = "skipped"
            else:
                step.reason = step.reason or self._try(step, step.state)
                if not step.reason:
                    done.insert(0, step)
                elif not message:
                    message = "%s: %s" % (step.handle, step.reason)
        if message and not goes_on:
            for step in done:
                step.reason = "undone"
                step.rollback = self._try(step, 1 - step.state)
        return message

    def save(self, sleep=None):
        """Keeps what must outlive power. sleep: the seconds of the deep sleep that begins now."""
        if self.store:
            wakes = sleep and self.now + self.shift + sleep
            state = self.tag, self.epoch, self.said, self.seq, wakes, self.have, self.done, self.result
            try:
                self.store(json.dumps(state))
            except Exception as error:
                self.error = error
