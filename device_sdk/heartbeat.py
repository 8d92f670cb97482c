"""The heartbeat: what a device measured since the last one, written as the protocol's `hb`.

Allocates nothing while it writes numbers. Knows nothing of MQTT and reads no clock: `now` is the agent's seconds.
"""

from .samples import Samples


def _age(p, time, now):
    if time is None:
        p.nil()
    else:
        p.int(max(0, now - time))


def _is_number(value):
    if type(value) is int:
        return -0x8000000000000000 <= value <= 0xFFFFFFFFFFFFFFFF
    return type(value) is float and value - value == 0  # which NaN and the infinities are not


class Heartbeat:
    """`layout` is the protocol's [agent_version, [metric, ...], [model, ...]]; `keep` bounds the samples that wait."""

    def __init__(self, layout, keep):
        self.layout = layout
        self._ends = [len(layout[1])]  # the slot after the device's metrics, then after those of each model
        for model in layout[2]:
            self._ends.append(self._ends[-1] + len(model[2]))
        self.samples = Samples(self._ends[-1], keep)
        self._sampled = [None] * len(layout[2])
        self._inferred = [None] * len(layout[2])
        self._news = bytearray(len(layout[2]))  # of each model's times: 0 said, 1 new, 2 on their way

    def slot(self, metric):
        """The slot of "name", of "model/name", or of a slot's number itself; ValueError where the layout has none."""
        if type(metric) is int:
            if 0 <= metric < self._ends[-1]:
                return metric
            raise ValueError("the layout has no metric " + str(metric))
        at = 0
        for prefix, metrics in [("", self.layout[1])] + [(model[0] + "/", model[2]) for model in self.layout[2]]:
            for item in metrics:
                if prefix + item[1] == metric:
                    return at
                at += 1
        raise ValueError("the layout has no metric " + repr(metric))

    def sample(self, metric, value, now):
        slot = metric if type(metric) is int and 0 <= metric < self._ends[-1] else self.slot(metric)
        if not _is_number(value):
            raise ValueError("a sample is a finite float or an int of 64 bits, not " + repr(value))
        self.samples.add(slot, value, now)
        for model in range(len(self._news)):
            if self._ends[model] <= slot < self._ends[model + 1]:
                self._sampled[model] = now
                self._news[model] = 1

    def inference(self, model, now):
        """Notes that the layout's model of that index or name ran."""
        if type(model) is not int:
            model = [item[0] for item in self.layout[2]].index(model)
        self._inferred[model] = now
        self._news[model] = 1

    def settle(self):
        """The last heartbeat arrived: forget what stood in it."""
        self.samples.settle()
        self._mark(2, 0)

    def release(self):
        """The last heartbeat was refused for now: what stood in it goes into the next one again."""
        self.samples.release()
        self._mark(2, 1)

    def _mark(self, old, new):
        for model in range(len(self._news)):
            if self._news[model] == old:
                self._news[model] = new

    def pack(self, p, tag, time, now, have=None, result=None, seq=None):
        """Writes as many of the waiting samples, the oldest first, as the buffer takes. Returns whether all fitted."""
        n = self.samples.count
        while True:
            p.reset()
            self.samples.take(n)
            try:
                self._pack(p, tag, time, now, have, result, seq)
            except ValueError:
                if not n:
                    raise
                n //= 2
            else:
                self._mark(1, 2)
                return n == self.samples.count

    def _pack(self, p, tag, time, now, have, result, seq):
        samples = self.samples
        models = len(self._news)
        while models and not self._has_news(models - 1):
            models -= 1
        values = samples.any(0, self._ends[0])
        if seq is not None:
            p.array(7)
        else:
            p.array(6 if result else 5 if have is not None else 4 if models else 3 if values else 2)
        p.int(tag)
        p.int(time)
        if values:
            samples.pack(p, 0, self._ends[0], now)
        elif models or have is not None or result or seq is not None:
            p.nil()
        if models:
            self._pack_models(p, models, now)
        elif have is not None or result or seq is not None:
            p.nil()
        if have is not None:
            p.int(have)
        elif result or seq is not None:
            p.nil()
        if result:
            self._pack_result(p, result, time)
        elif seq is not None:
            p.nil()
        if seq is not None:
            p.int(seq)

    def _has_news(self, model):
        return self._news[model] or self.samples.any(self._ends[model], self._ends[model + 1])

    def _pack_models(self, p, models, now):
        p.array(models)
        for model in range(models):
            if not self._has_news(model):
                p.nil()
                continue
            some = self.samples.any(self._ends[model], self._ends[model + 1])
            p.array(3 if some else 2)
            _age(p, self._sampled[model], now)
            _age(p, self._inferred[model], now)
            if some:
                self.samples.pack(p, self._ends[model], self._ends[model + 1], now)

    def _pack_result(self, p, result, time):
        p.array(6)
        for text in result[:3]:
            p.any(text)
        _age(p, result[3], time)
        _age(p, result[4], time)
        p.any(result[5])
