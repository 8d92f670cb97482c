"""Random heartbeats, the same on every runtime: `micropython tests/device/random_heartbeats.py COUNT` prints their
bytes' SHA-1.

Each comes as (meant, payload): what the device measured, and how the SDK wrote it. The test that decodes them is
in host/.
"""

import sys
from binascii import hexlify
from hashlib import sha1

sys.path.insert(0, ".")

from device_sdk.heartbeat import Heartbeat, Packer


class Dice:
    """A generator that all runtimes share; its numbers fit the small ints of 32-bit boards."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 16807 + 12345) % 2147483647
        return (self.state >> 8) % n

    def number(self):
        """An int of any width of msgpack, of either sign, or a float."""
        width = self.below(65)
        n = 0
        for _ in range(0, width, 16):
            n = n << 16 | self.below(65536)
        n &= (1 << width) - 1
        kind = self.below(4)
        if kind == 0:
            return -(n >> 1)
        return (n - (1 << 20)) / 1024 if kind == 1 and width < 24 else n

    def maybe(self, value):
        return value if self.below(2) else None


def layout(dice):
    metrics = [["sys", "metric-%d" % n] for n in range(dice.below(20))]
    names = ["model-%d" % n for n in range(dice.below(3))]
    return ["1.0.0", metrics, [[name, "1.0", columns(dice.below(4))] for name in names]]


def columns(n):
    return [["sys", "number-%d" % each] for each in range(n)]


def result(dice, time):
    rows = [row(dice, "handle-%d" % n) for n in range(dice.below(3))]
    ages = dice.maybe(dice.below(time + 1)), dice.maybe(0)
    return ("deploy-%d" % dice.below(100), ("SUCCESS", "FAIL")[dice.below(2)], dice.maybe("why")) + ages + (rows,)


def row(dice, handle):
    return handle, dice.maybe("name"), None, 1, dice.below(2), dice.below(2), dice.maybe("größe")


def heartbeats(count, seed=1):
    dice = Dice(seed)
    p = Packer(4096, 7)
    while count:
        form = layout(dice)
        heartbeat = Heartbeat(form, 40)
        now = dice.below(100000)
        for _ in range(min(count, 5)):
            now += 1 + dice.below(100)
            yield one(dice, form, heartbeat, now, p)
            count -= 1


def one(dice, form, heartbeat, now, p):
    """One heartbeat of a device, which then is as if it had arrived."""
    values = [[] for _ in form[1]]
    models = [[None, None, [[] for _ in model[2]]] for model in form[2]]
    for _ in range(dice.below(12)):
        age = dice.below(3) * dice.below(60)
        number = dice.number()
        n = dice.below(len(values) + len(models) + 1)
        if n < len(values):
            values[n].append((number, age))
            heartbeat.sample("metric-%d" % n, number, now - age)
        elif n < len(values) + len(models) and models[n - len(values)][2]:
            rows = models[n - len(values)][2]
            m = dice.below(len(rows))
            rows[m].append((number, age))
            heartbeat.sample("model-%d/number-%d" % (n - len(values), m), number, now - age)
    for n in range(len(models)):
        if dice.below(2):
            models[n][0] = dice.below(30)
            models[n][1] = 0
            heartbeat.now = now
            heartbeat.inference(n, now - models[n][0])
    head = [dice.below(65536), now, dice.maybe(dice.below(1 << 30)), dice.maybe(result(dice, now))]
    head.append(dice.maybe(dice.below(1 << 24)))
    heartbeat.hb[0:2] = head[:2]
    heartbeat.hb[4:] = head[2:]
    heartbeat.pack(p, now)
    heartbeat.pop(heartbeat.taken)
    heartbeat.since = now + 1
    return head + [values, models], bytes(p.buf[p.start : p.pos])


def digest(count):
    total = sha1()
    for _, payload in heartbeats(count):
        total.update(payload)
    return hexlify(total.digest()).decode()


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
