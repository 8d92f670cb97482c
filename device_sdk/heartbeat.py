"""The heartbeat: what a device measured since the last one, written as the protocol's `hb`.

Samples wait in a ring that is allocated once and drops its oldest when it is full. A heartbeat of one sample of each
metric, taken when it is written, must allocate nothing. Knows nothing of MQTT and reads no clock: `now` is the agent's.
"""


class Heartbeat:
    """`layout` is the protocol's [agent_version, [metric, ...], [model, ...]]; `keep` bounds the samples that wait."""

    def __init__(self, layout, keep):
        self.layout = layout
        self.keep = keep
        self.now = 0
        self.hb = [None] * 7  # the protocol's array, filled in for each heartbeat
        self._cells = {}  # where a metric's samples go in it: (list, index) by "name" or "model/name"
        self.hb[2] = self._row("", layout[1])
        self._models = []
        for model in layout[2]:
            self._models.append([None, None, self._row(model[0] + "/", model[2])])
        self.hb[3] = self._models or None
        self._model_times = [-1] * (2 * len(self._models))  # sampled and run
        self.since = 0  # when the last heartbeat left: model times before it have been told
        # The ring: cell, value and time of each sample. The oldest is at `index`; `taken` of `count` stand in the
        # heartbeat on its way.
        self._where = [None] * keep
        self._values = [None] * keep
        self._times = [0] * keep
        self.index = self.count = self.taken = 0

    def _row(self, prefix, metrics):
        row = [None] * len(metrics)
        for i in range(len(row)):
            self._cells[prefix + metrics[i][1]] = row, i
        return row or None

    def sample(self, metric, value, now=None):
        """Keeps a sample of "name" or "model/name"; now: when it was taken, the last `now` of the agent where None.

        value: an int of 64 bits or a finite float; with an exponent in the layout, in units of 10^exponent. ValueError
        for anything else, KeyError for a metric that the layout has not.
        """
        if not (-2 < value >> 63 < 2 if type(value) is int else type(value) is float and value - value == 0):
            raise ValueError("sample")
        cell = self._cells[metric]
        if self.count == self.keep:
            self._drop(1)
        i = (self.index + self.count) % self.keep
        self._where[i] = cell
        self._values[i] = value
        self._times[i] = self.now if now is None else now
        self.count += 1

    def inference(self, model=0, sampled=None):
        """Notes that the model of this index in the layout runs now, on data of the moment `sampled` (None: now)."""
        self._model_times[2 * model] = self.now if sampled is None else sampled
        self._model_times[2 * model + 1] = self.now

    def _drop(self, n):
        # Forgets the n oldest samples.
        self.index = (self.index + n) % self.keep
        self.count -= n
        self.taken = max(0, self.taken - n)

    def pack(self, p, now):
        """Writes as many of the waiting samples, the oldest first, as p takes.

        ValueError where not even the rest of the heartbeat fits.
        """
        models = self._models
        for i in range(len(models)):
            for j in (0, 1):
                time = self._model_times[2 * i + j]
                models[i][j] = now - time if self._model_times[2 * i + 1] >= self.since else None
        self.taken = self.count
        while not self._written(p, now):
            self.taken //= 2

    def _written(self, p, now):
        p.pos = p.start
        self._fill(now)
        try:
            return p.any(self.hb)
        except ValueError:
            if not self.taken:
                raise
        finally:
            self._fill(None)

    def _fill(self, now):
        # Puts the chosen samples into their cells: one of age 0 as it is, several, or older ones, as [value, age, ...].
        # None for now: clears the cells.
        for i in range(self.index, self.index + self.taken):
            i %= self.keep
            row, n = self._where[i]
            value = self._values[i]
            if now is None:
                value = None
            elif row[n] is not None or self._times[i] != now:
                if type(row[n]) is not list:
                    row[n] = [] if row[n] is None else [row[n], 0]
                row[n] += value, max(0, now - self._times[i])
                value = row[n]
            row[n] = value
