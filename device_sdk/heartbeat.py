"""The heartbeat: a device's samples since the last one, encoded as the protocol's `hb` in msgpack.

Samples wait in a ring buffer that is allocated once; when it is full, the oldest is dropped. A heartbeat with one new
sample of each metric must allocate nothing. No MQTT and no clock: the agent sets `now`.
"""

import struct


class Packer:
    """Writes msgpack into `buf` from `start` on; `pos` is the end of the data.

    It allocates nothing, except for floats, which most boards have on the heap.
    """

    def __init__(self, size, start):
        self.buf = bytearray(start + size)
        self.start = self.pos = self.at = start  # `at`: begin of the PUBLISH packet

    def put(self, code, size=0, n=0, bits=0):
        """Write the byte `code`, then n, big-endian, in `size` bytes.

        If `bits` needs more, the size is doubled and the code is the next one. Raises ValueError if it does not fit.
        """
        while bits >> 8 * size:
            size *= 2
            code += 1
        buf = self.buf
        at = self.pos
        self.pos = at + 1 + size
        if self.pos > len(buf):
            raise ValueError("size")
        buf[at] = code
        while size:
            buf[at + size] = n & 255
            n >>= 8
            size -= 1

    def any(self, value):
        """Write None, an int of 64 bits, a finite float, a str, or a list or tuple of these, of any depth.

        It takes the shortest form, omits nils at the end of an array, and writes an array of nils as nil. Returns False
        for nil.
        """
        kind = type(value)
        if kind is int:
            if -32 <= value < 128:
                self.put(value & 255)
            elif value < 0:
                self.put(0xD0, 1, value, ~value << 1)  # one bit more, for the sign
            else:
                self.put(0xCC, 1, value, value)
        elif value is None:
            self.put(0xC0)
            return False
        elif kind is float:
            self.put(0xCB, 8)
            struct.pack_into(">d", self.buf, self.pos - 8, value)
        elif kind is str:
            value = value.encode()
            n = len(value)
            if n < 32:
                self.put(0xA0 | n)
            else:
                self.put(0xD9, 1, n, n)
            for n in value:
                self.put(n)
        else:
            start = self.pos
            size = 0 if len(value) < 16 else 2
            self.put(0xDC, size)
            end = self.pos
            count = n = 0
            for each in value:
                n += 1
                if self.any(each):
                    count = n
                    end = self.pos
            self.pos = start
            if n and not count:
                return self.any(None)
            self.put(0xDC if size else 0x90 | count, size, count)
            self.pos = end
        return True


class Heartbeat:
    """`layout` is the protocol's [agent_version, [metric, ...], [model, ...]].

    keep: how many samples can wait; one of each metric can in any case.
    """

    def __init__(self, layout, keep):
        self.now = 0
        self.since = -1  # time of the last heartbeat; earlier model times were sent
        self.map = {}  # cell of a metric in `hb`: (list, index), by each name that was used for it
        self.layout = layout
        self.hb = [None] * 7  # the protocol's array, filled for each heartbeat
        self.hb[2] = [None] * len(layout[1]) or None
        models = []
        size = len(layout[1])
        for _, _, metrics in layout[2]:
            models.append([None, None, [None] * len(metrics) or None])
            size += len(metrics)
        self.hb[3] = models or None
        self.size = size
        self._times = [-9] * (2 * len(models))  # when each model was sampled, and when it ran
        self.keep = keep = max(keep, size, 1)
        self.items = [None] * (3 * keep)  # a ring buffer: cell, value and time of each sample
        self.index = self.count = self.taken = 0  # the oldest is at `index`; the last heartbeat has `taken`
        self.lost = [0, 0]  # how many samples were dropped before they were sent, and the time of the newest of them

    def sample(self, name, value, now=None):
        """Keep a sample of a metric for the next heartbeat.

        name: "name" or "dimension/name"; of a model "model/name" or "model/version/dimension/name". value: an int of 64
        bits or a finite float; with an exponent in the layout, in units of 10^exponent. Raises ValueError for other
        values, and for a name that several metrics have; KeyError for one that is not in the layout. now: the time of
        the sample; None: the last `now` of the agent.
        """
        kind = type(value)
        if not (abs(value >> 63) < 2 if kind is int else kind is float and value - value == 0):
            raise ValueError(name)
        cell = self.map.get(name) or self.find(name)
        items = self.items
        if self.count == self.keep:
            if not self.taken:
                self.lost = [self.lost[0] + 1, items[self.index * 3 + 2]]
            self.pop(1)
        i = (self.index + self.count) % self.keep * 3
        items[i] = cell
        items[i + 1] = value
        items[i + 2] = self.now if now is None else now
        self.count += 1

    def find(self, name):
        # The cell of a metric. Looked up once for each name, since names of all forms would fill a board's memory.
        found = []
        row = self.hb[2]
        metrics = self.layout[1]
        model = path = ""
        for i in range(len(self.layout[2]) + 1):
            if i:
                row = self.hb[3][i - 1][2]
                model, path, metrics = self.layout[2][i - 1]
                model += "/"
                path = model + path + "/"
            for n in range(len(metrics)):
                full = path + "/".join(metrics[n][:2])
                if name in (full, model + metrics[n][1]):
                    cell = row, n
                    found.append(full)
        if not found:
            raise KeyError(name)
        if found[1:]:
            raise ValueError(name + " is " + " or ".join(found))
        self.map[name] = cell
        return cell

    def inference(self, model=0, sampled=None):
        """Record that the model with this index in the layout runs now, on data of the time `sampled` (None: now)."""
        self._times[2 * model] = self.now if sampled is None else sampled
        self._times[2 * model + 1] = self.now

    def pop(self, n):
        # Drops the n oldest samples.
        self.index = (self.index + n) % self.keep
        self.count -= n
        self.taken = max(0, self.taken - n)

    def pack(self, p, now):
        """Write as many of the waiting samples as fit p and the memory, the oldest first.

        If the rest does not fit without samples, it omits the result's models, its times, its message, and at last the
        whole result and the seq. Raises what the last attempt raised: ValueError if even that is too large.
        """
        times = self._times
        for i in range(len(times)):
            self.hb[3][i // 2][i % 2] = now - times[i] if times[i | 1] >= self.since else None
        self.taken = self.count
        while True:
            p.pos = p.start
            try:
                self.fill(now)
                return p.any(self.hb)
            except Exception:  # MemoryError too, or a callback has given a model a name that is none
                result = self.hb[5]
                if not (self.taken or result):
                    raise
            finally:
                self.fill(None)
            if self.taken:
                self.taken //= 2
            else:
                result.pop()
                self.taken = self.count
                if not result:
                    self.hb[5] = self.hb[6] = None

    def fill(self, now):
        # Puts the chosen samples into their cells: one of age 0 as a value, others as [value, age, ...].
        # now None: clears the cells.
        items = self.items
        for i in range(self.index, self.index + self.taken):
            i = i % self.keep * 3
            row, n = items[i]
            if now is None:
                row[n] = None
                continue
            value = items[i + 1]
            age = max(0, now - items[i + 2])
            cell = row[n]
            if age or cell is not None:
                if type(cell) is not list:
                    cell = [] if cell is None else [cell, 0]
                cell += value, age
                value = cell
            row[n] = value
