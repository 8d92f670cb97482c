"""Store and forward: an agent whose samples stay until the cloud has accepted them, in files over a loss of power too.

Who wants it imports it: `from device_sdk.backlog import Backlog`. There are four files, PATH0 to PATH3. They are only
appended to, and one is removed once all of it is accepted. A record is a line feed, a JSON array, a space and the
array's CRC-32: what is torn or damaged has a wrong CRC and is skipped. The array is [number of the file, whose name has
it modulo 4; CRC of the layout; boot; tag, epoch and shift of the agent; [metric, value, time, ...]].
"""

import json
import os
from binascii import crc32

from .agent import Agent
from .heartbeat import Heartbeat

FILES = 4


def parse(line):
    # The record in a line; None: it is not whole.
    at = line.rfind(b" ")
    try:
        if int(line[at:].decode()) == crc32(line[:at]):
            return json.loads(line[:at].decode())
    except ValueError:
        return None


class Backlog(Agent):
    """An Agent that asks for an ack of its samples and drops them when it came: with code 0, or 1 or 4, after which
    they will never be accepted.

    Samples without an ack are sent again at the next heartbeat, then at the second, fourth, eighth and each sixteenth
    one after, until an ack comes. path: what the names of its files begin with; None: it has none. limit: bytes that
    the files may have together. Once they are full, the oldest quarter is dropped. Other parameters: those of Agent.
    Raises ValueError too for a limit that is too small for `keep` samples.
    """

    accepted = 0  # samples that the cloud has accepted since the boot
    wanted = None  # the seq whose ack is awaited
    batch = 0  # samples, the oldest ones, that were sent under it
    more = 0  # whether others did not fit
    last = None  # the last seq that was sent
    tries = skip = 0  # how often the batch was sent, and heartbeats until it is sent again
    first = FILES  # number of the oldest file, and of the newest one
    newest = FILES - 1
    size = 0  # of the newest file
    begin = end = 0  # what is behind `begin` of the oldest file waits; the other ring ends at `end`
    source = 0  # of that file

    def __init__(self, *arguments, path=None, limit=16384, **more):
        Agent.__init__(self, *arguments, **more)
        self.path = path
        self.limit = limit // FILES
        if path is not None and self.limit < 48 * self.keep + 150:
            raise ValueError("limit")
        self.rows = [self.hb[2]] + [model[2] for model in self.hb[3] or ()]
        self.form = crc32(repr(self.layout).encode())
        # The ring that is not in use: of samples that were read from the files.
        self.other = [[None] * (0 if path is None else 3 * self.keep), 0, 0]

    def start(self, *arguments):
        Agent.start(self, *arguments)
        self.boot = int.from_bytes(os.urandom(4), "big")
        self.last = self.result and self.seq  # an ack that was on its way at the last boot must confirm no samples
        found = []
        for n in range(0 if self.path is None else FILES):
            record, _ = self.next(n, 0)
            if record:
                found.append(record[0])
            elif record is None:  # nothing in it is whole
                self.remove(n)
        if found:
            self.newest = max(found)
            self.first = max(min(found), self.newest - FILES + 1)
            try:
                self.size = os.stat(self.name(self.newest))[6]
            except OSError as error:  # of the flash
                self.error = error
                self.size = self.limit  # the next record begins another file

    @property
    def busy(self):
        """As that of Agent, and whether an ack of samples is awaited."""
        if self.wanted is not None or self.result or self.fetch:  # again, since MicroPython's super() has no properties
            return True
        return self.said != self.hash or self.digest != self.have

    def sample(self, name, value, now=None):
        """As that of Agent; where the ring is full, what it has goes to the files."""
        if self.count == self.keep:
            self.spill()
        Agent.sample(self, name, value, now)

    def update(self, now):
        """As that of Agent. What waited for longer than an interval goes to the files, with what was measured now."""
        late = self.due < self.at <= now or self.wanted is not None or self.first <= self.newest
        measured = now >= self.at
        Agent.update(self, now)
        if late and measured:
            self.spill()

    def save(self, sleep):
        """As that of Agent. Before a sleep all that waits goes to the files."""
        if sleep:
            self.spill()
        Agent.save(self, sleep)

    def pop(self, n):
        Heartbeat.pop(self, n)
        if not self.other[1]:
            self.batch = max(0, self.batch - n)

    def pack(self, p, now):
        """As that of Heartbeat, of the samples in the files first. Under one seq it sends always the same samples."""
        if self.wanted is None and not self.other[1]:
            self.load()
        stored = self.other[1]
        if stored:
            self.swap()
        hb = self.hb
        count = send = self.count
        if hb[6] is not None and hb[6] == self.wanted:
            send = self.batch
        elif self.wanted is not None and self.skip:
            self.skip -= 1
            send = 0
        elif hb[6] is not None and hb[6] == self.last:
            send = 0
        elif send and hb[6] is None:
            hb[6] = self.seq = self.seq + 1
        self.count = send
        try:
            Heartbeat.pack(self, p, now)
            if self.taken and hb[6] is None:  # a result that fits no heartbeat asks for no ack
                hb[6] = self.seq = self.seq + 1
                Heartbeat.pack(self, p, now)
        finally:
            self.count = count
            if stored:
                self.swap()
        if hb[6] is not None:
            self.last = hb[6]
        if self.taken:
            if hb[6] != self.wanted:
                self.tries += 1
                self.skip = (1 << min(self.tries, 5) - 1) - 1
            self.wanted = hb[6]
            self.batch = self.taken
            self.more = count > self.taken
            self.taken = 0  # it is the ack that drops them

    def ack(self, value):
        Agent.ack(self, value)
        if value[0] is None or value[0] != self.wanted or value[1] not in (0, 1, 4):
            return
        self.wanted = None
        self.tries = self.skip = 0
        n = self.batch
        if value[1]:
            self.lost = [self.lost[0] + n, self.lost[1]]
        else:
            self.accepted += n
        if self.other[1]:
            self.swap()
            Heartbeat.pop(self, n)
            self.swap()
            if not self.other[1]:
                if self.source == self.first:
                    self.begin = self.end
                self.load()
            self.more = self.other[1]
        else:
            self.pop(n)
        if self.more:
            self.due = self.now

    def swap(self):
        # Exchanges the two rings. It allocates nothing: where that failed, they would stay exchanged.
        other = self.other
        self.items, other[0] = other[0], self.items
        self.count, other[1] = other[1], self.count
        self.index, other[2] = other[2], self.index

    def name(self, n):
        return self.path + str(n % FILES)

    def next(self, n, at):
        # The first whole record of a file behind the byte `at`, and its end. n: number of the file, or of its name.
        # None instead of the record: there is none; False: it cannot be read now, of the flash or for want of memory.
        try:
            with open(self.name(n), "rb") as file:
                file.seek(at)
                line = True
                while line:
                    line = file.readline()
                    at += len(line)
                    record = parse(line)
                    if record and n in (record[0], record[0] % FILES):  # not of a file that had this name before
                        return record, at
            return None, at
        except Exception as error:
            return self.failed(error), at

    def remove(self, n):
        try:
            os.remove(self.name(n))
        except OSError as error:
            self.failed(error)

    def failed(self, error):
        if 2 in error.args:  # ENOENT: there is no such file, as at the first start
            return None
        self.error = error
        return False

    def shifted(self, record):
        # What to add to the times of a record for those of this boot. None: it is not known, False: not yet.
        _, form, boot, tag, epoch, shift, _ = record
        if form != self.form:
            return None
        if boot == self.boot:
            return 0
        if None not in (epoch, self.epoch):
            return epoch - self.epoch + shift - self.shift
        if tag == self.tag:
            return shift - self.shift
        return None if epoch is None else False

    def load(self):
        # Reads the oldest records into the other ring, and removes files of which nothing waits any more.
        items = self.other[0]
        while self.first <= self.newest and not self.other[1]:
            n = 0
            end = self.begin
            while True:
                record, after = self.next(self.first, end)
                if not record:
                    break
                shift = self.shifted(record)
                samples = record[6]
                if shift is False:
                    if not n:
                        return
                    break
                if shift is None or len(samples) > len(items):
                    self.lost = [self.lost[0] + len(samples) // 3, self.lost[1]]
                    if not n:
                        self.begin = after
                elif n + len(samples) > len(items):
                    break
                else:
                    for i in range(0, len(samples), 3):
                        metric, items[n + i + 1], time = samples[i : i + 3]
                        items[n + i] = self.rows[metric % len(self.rows)], metric // len(self.rows)
                        items[n + i + 2] = time + shift
                    n += len(samples)
                end = after
            if n:
                self.source = self.first
                self.end = end
                self.other[1] = n // 3
                self.other[2] = 0
            elif record is False:  # tried again with the next heartbeat
                return
            else:
                self.drop()

    def drop(self):
        # Nothing in the oldest file waits any more.
        self.remove(self.first)
        self.first += 1
        self.begin = 0

    def lose(self):
        # Makes room for another file. What is in the other ring is not lost.
        at = self.end if self.other[1] and self.source == self.first else self.begin
        while True:
            record, at = self.next(self.first, at)
            if not record:
                break
            self.lost = [self.lost[0] + len(record[6]) // 3, record[6][-1] + (self.shifted(record) or 0)]
        self.drop()

    def spill(self):
        # Moves the samples of the first ring to the files.
        if self.path is None or not self.count:
            return
        try:
            samples = []
            for i in range(self.index, self.index + self.count):
                (row, metric), value, time = self.items[i % self.keep * 3 : i % self.keep * 3 + 3]
                for n in range(len(self.rows)):
                    if self.rows[n] is row:
                        samples += metric * len(self.rows) + n, value, time
            self.append(json.dumps([self.form, self.boot, self.tag, self.epoch, self.shift, samples])[1:])
        except Exception as error:  # of the flash, or for want of memory: the samples stay where they are
            self.error = error
            return
        if not self.other[1]:
            self.wanted = None  # they are sent again: a late ack of them confirms nothing
        self.pop(self.count)

    def append(self, text):
        # Writes a record, which is `text` behind its number, to the newest file or to another one.
        n = self.newest
        size = self.size
        if self.first > n or size + len(text) + 40 > self.limit:
            n += 1
            while n - self.first >= FILES:
                self.lose()
            size = 0
        text = ("[%d, " % n + text).encode()
        text = b"\n" + text + (" %d" % crc32(text)).encode()
        name = self.name(n)
        self.size = self.limit  # where it ends here, what was written may be torn
        with open(name, "ab" if size else "wb") as file:
            file.write(text)
            if hasattr(os, "fsync"):
                file.flush()
                os.fsync(file.fileno())
        self.size = size + len(text)
        if self.first > self.newest:
            self.first = n
            self.begin = 0
        self.newest = n
