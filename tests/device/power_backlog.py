"""Store and forward under power cuts: `power_backlog.py CUTS SEED LIMIT`, run by MicroPython; one JSON line out.

A device measures a number that only grows and keeps what is not acked on a flash that loses power at a random write,
again and again. Its heartbeats and their acks get lost. It asserts that no number arrives with a wrong date, and that
none is missing but those of the last two intervals before a cut, and those that the device says it dropped.
"""

import gc
import json
import os
import random
import sys

from device_sdk.backlog import Backlog
from device_sdk.heartbeat import Packer
from device_sdk.port import in_file
from tests.device.flash import Powered, formatted
from tests.device.support import NOW, packed, read, receive, written

MANY = 1 << 30  # writes without a cut
INTERVAL = 10
LAYOUT = ["1", [["sys", "number"]], []]


class World:
    """What never loses power."""

    def __init__(self, limit):
        self.limit = limit
        self.kind = False  # whether nothing gets lost any more
        self.now = NOW
        self.count = 0
        self.dates = {}
        self.arrived = set()
        self.late = []  # acks on their way
        self.cuts = []
        self.lost = 0

    def size(self):
        return sum([each[3] for each in os.ilistdir("/flash") if each[0].startswith("kept")])


class Boot:
    """From one boot to the next cut."""

    def __init__(self, world, flash):
        self.world = world
        self.flash = flash
        self.boot = world.now
        store = in_file("/flash/state")
        more = {"path": "/flash/kept", "limit": world.limit, "keep": 16, "interval": INTERVAL, "store": store}
        self.agent = Backlog(LAYOUT, measure=self.measure, **more)
        self.p = Packer(160, 0)
        self.agent.start(0, world.now, random.getrandbits(16), False)

    def measure(self, agent):
        world = self.world
        world.count += 1
        world.dates[world.count] = world.now
        agent.sample("number", world.count)

    def step(self, online):
        world = self.world
        world.now += random.randint(0, 5)
        now = world.now - self.boot
        if not online:
            self.agent.update(now)
            return
        for _ in range(4):
            self.agent.clock(now, world.now)
            channel = self.agent.poll(now, self.p)
            if channel is None or self.flash.dead:
                break
            value = read(written(self.p))
            self.agent.sent(channel)
            if channel == "hb" and (world.kind or random.getrandbits(3)):  # or else it is lost
                self.take(value)
        if world.late and random.getrandbits(2):
            receive(self.agent, "ack", world.late.pop(random.randrange(len(world.late))))
        assert self.flash.dead or not self.agent.bad, self.agent.error

    def take(self, value):
        world = self.world
        cell = value[2][0] if len(value) > 2 and value[2] else []
        cell = cell if type(cell) is list else [cell, 0]
        for i in range(0, len(cell), 2):
            assert self.agent.epoch + value[1] - cell[i + 1] == world.dates[cell[i]], "a wrong date"
            world.arrived.add(cell[i])
        if len(value) > 6 and world.kind:
            receive(self.agent, "ack", packed((value[6], 0, world.now)))
        elif len(value) > 6:
            for _ in range(random.choice((0, 1, 1, 1, 1, 1, 2))):
                world.late.append(packed((value[6], random.choice((0, 0, 0, 0, 0, 0, 2, 7)), world.now)))


def main(cuts, seed, limit):
    random.seed(int(seed))
    data = formatted(1 << 18)
    world = World(int(limit))
    for _ in range(int(cuts)):
        with Powered(data, random.randint(0, 60)) as flash:
            boot = Boot(world, flash)
            online = random.getrandbits(1)
            while not flash.dead:
                if not random.getrandbits(5):
                    online = not online
                boot.step(online)
                assert flash.dead or world.size() <= world.limit
            world.lost += boot.agent.lost[0]
            world.cuts.append(world.now)
        gc.collect()
    with Powered(data, MANY) as flash:
        boot = Boot(world, flash)
        world.kind = True
        world.late.clear()
        for _ in range(300):
            boot.step(True)
        world.lost += boot.agent.lost[0]
        left = world.size()
    missing = [n for n in world.dates if n not in world.arrived]
    unsaid = 0
    for n in missing:
        date = world.dates[n]
        if date < world.now - INTERVAL and not [cut for cut in world.cuts if -6 <= cut - date <= 2 * INTERVAL + 6]:
            unsaid += 1
    assert unsaid <= world.lost, (unsaid, world.lost)
    assert left == 0, left
    said = {"measured": world.count, "missing": len(missing), "unsaid": unsaid, "lost": world.lost}
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
