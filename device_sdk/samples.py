"""Metric samples between two heartbeats: a ring that is allocated once and drops its oldest sample when it is full.

Each sample belongs to a slot: the metrics of the layout in their order, then those of its first model, and so on.
Holds no clock and knows nothing of MQTT.
"""


class Samples:
    """A ring of `keep` (at most 255) samples of `slots` (at most 255) metrics; times are the agent's seconds."""

    def __init__(self, slots, keep):
        if slots > 255 or not 0 < keep < 256:
            raise ValueError("an agent holds 1 to 255 samples of at most 255 metrics")
        self.keep = keep
        self.first = self.count = 0
        self.taken = 0  # the oldest samples that stand in the heartbeat on its way
        self._slot = bytearray(keep)
        self._value = [0] * keep
        self._time = [0] * keep
        self._tally = bytearray(slots)
        self._last = bytearray(slots)

    def add(self, slot, value, now):
        if self.count == self.keep:
            self._drop(1)
        i = (self.first + self.count) % self.keep
        self._slot[i] = slot
        self._value[i] = value
        self._time[i] = now
        self.count += 1

    def _drop(self, n):
        self.first = (self.first + n) % self.keep
        self.count -= n
        self.taken = max(0, self.taken - n)

    def take(self, n):
        """Chooses the n oldest samples for the heartbeat that is written next."""
        self.taken = n
        for slot in range(len(self._tally)):
            self._tally[slot] = 0
        for i in range(self.first, self.first + n):
            i %= self.keep
            slot = self._slot[i]
            self._tally[slot] += 1
            self._last[slot] = i

    def settle(self):
        """The heartbeat arrived: its samples are forgotten."""
        self._drop(self.taken)

    def release(self):
        """The heartbeat was refused for now: its samples go into the next one again."""
        self.taken = 0

    def any(self, first, end):
        for slot in range(first, end):
            if self._tally[slot]:
                return True
        return False

    def pack(self, p, first, end, now):
        """The chosen samples of the slots first to end-1 as the protocol's [samples, ...], which ends at the last."""
        while end > first and not self._tally[end - 1]:
            end -= 1
        p.array(end - first)
        for slot in range(first, end):
            self._pack_slot(p, slot, now)

    def _pack_slot(self, p, slot, now):
        n = self._tally[slot]
        i = self._last[slot]
        if not n:
            p.nil()
        elif n == 1 and self._time[i] == now:
            self._pack_number(p, i)
        else:
            p.array(n * 2)
            for i in range(self.first, self.first + self.taken):
                i %= self.keep
                if self._slot[i] == slot:
                    self._pack_number(p, i)
                    p.int(max(0, now - self._time[i]))

    def _pack_number(self, p, i):
        value = self._value[i]
        if type(value) is int:
            p.int(value)
        else:
            p.float(value)
