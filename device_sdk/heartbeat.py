"""The heartbeat: what a device measured since the last one, written as the protocol's `hb`.

Samples wait in a ring that is allocated once and drops its oldest when it is full. A heartbeat of one sample of each
metric, taken when it is written, must allocate nothing. Knows nothing of MQTT and reads no clock: `now` is the agent's.
"""


class Heartbeat:
    """`layout` is the protocol's [agent_version, [metric, ...], [model, ...]]; `keep` bounds the samples that wait."""

    def __init__(self, layout, keep):
        self.keep = keep
        self.now = self.since = 0  # `since`: when the last heartbeat left; model times before it have been told
        self._cells = {}  # where a metric's samples go in `hb`: (list, index) by "name" or "model/name"
        self.hb = [None] * 7  # the protocol's array, filled in for each heartbeat
        self.hb[2] = self._row("", layout[1])
        models = []
        for model in layout[2]:
            models.append([None, None, self._row(model[0] + "/", model[2])])
        self.hb[3] = models or None
        self._times = [-1] * (2 * len(models))  # when each model was sampled and ran
        self._ring = [None] * (3 * keep)  # cell, value and time of each sample
        self.index = self.count = self.taken = 0  # the oldest is at `index`; `taken` of `count` are on their way

    def _row(self, name, items):
        row = [None] * len(items)
        for i in range(len(row)):
            self._cells[name + items[i][1]] = row, i
        return row or None

    def sample(self, name, value, now=None):
        """Keeps a sample of a metric, "name" or "model/name".

        value: an int of 64 bits or a finite float; with an exponent in the layout, in units of 10^exponent. ValueError
        for anything else, KeyError for a metric that the layout has not. now: when it was taken, the last `now` of the
        agent where None.
        """
        if not (-2 < value >> 63 < 2 if type(value) is int else type(value) is float and value - value == 0):
            raise ValueError("sample")
        cell = self._cells[name]
        if self.count == self.keep:
            self.pop(1)
        ring = self._ring
        i = (self.index + self.count) % self.keep * 3
        ring[i] = cell
        ring[i + 1] = value
        ring[i + 2] = self.now if now is None else now
        self.count += 1

    def inference(self, model=0, sampled=None):
        """Notes that the model of this index in the layout runs now, on data of the moment `sampled` (None: now)."""
        self._times[2 * model] = self.now if sampled is None else sampled
        self._times[2 * model + 1] = self.now

    def pop(self, n):
        # Forgets the n oldest samples.
        self.index = (self.index + n) % self.keep
        self.count -= n
        self.taken = max(0, self.taken - n)

    def pack(self, p, now):
        """Writes as many of the waiting samples, the oldest first, as p takes.

        Where not even the rest fits, it leaves out the result's models, its times, its message, at last all of it, and
        the seq with it; ValueError after that.
        """
        times = self._times
        for i in range(len(times)):
            self.hb[3][i // 2][i % 2] = now - times[i] if times[i | 1] >= self.since else None
        self.taken = self.count
        while True:
            p.pos = p.start
            self._fill(now)
            try:
                return p.any(self.hb)
            except ValueError:
                result = self.hb[5]
                if not (self.taken or result):
                    raise
            finally:
                self._fill(None)
            if self.taken:
                self.taken //= 2
            else:
                result.pop()
                self.taken = self.count
                if not result:
                    self.hb[5] = self.hb[6] = None

    def _fill(self, now):
        # Puts the chosen samples into their cells: one of age 0 as it is, several, or older ones, as [value, age, ...].
        # None for now: clears the cells.
        ring = self._ring
        for i in range(self.index, self.index + self.taken):
            i = i % self.keep * 3
            row, n = ring[i]
            if now is None:
                row[n] = None
                continue
            value = ring[i + 1]
            age = max(0, now - ring[i + 2])
            cell = row[n]
            if age or cell is not None:
                if type(cell) is not list:
                    cell = [] if cell is None else [cell, 0]
                cell += value, age
                value = cell
            row[n] = value
