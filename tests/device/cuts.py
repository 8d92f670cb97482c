"""Power cuts: `micropython tests/device/cuts.py CUTS SEED`, on LittleFS in RAM that dies at a random operation.

Each life of a device ends when its flash does, in the middle of a write. What stands then on the flash is all that the
next life has. A gateway gives it plans with a model file each, loses 2 % of the blocks and every third ack, and checks
what it is told. Fails by an AssertionError; says at the end, in one JSON line, what happened.
"""

import json
import random
import sys
from hashlib import sha1

import vfs

sys.path.insert(0, ".")

from device_sdk.agent import Agent
from device_sdk.pack import Packer
from device_sdk.port import in_file
from device_sdk.unpack import unpack

NOW = 1795458600
BLOCK = 512


class Flash:
    """A block device; after `left` more writes and erasures it fails for good, having done a part of the last one.

    One for each life: what a dead life still tries to close must not write into the next one.
    """

    def __init__(self, data, left=None):
        self.data = data
        self.left = left

    @property
    def dead(self):
        return self.left == 0

    def readblocks(self, n, buf, offset=0):
        at = n * BLOCK + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, n, buf, offset=0):
        if self.dead:
            return -5
        at = n * BLOCK + offset
        size = self._survives(len(buf))
        self.data[at : at + size] = buf[:size]
        return -5 if self.dead else 0

    def _survives(self, size):
        if self.left is None:
            return size
        self.left -= 1
        return random.randint(0, size) if self.dead else size

    def ioctl(self, op, n):
        if op == 4:
            return len(self.data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6 and self.dead:
            return -5
        if op == 6:
            size = self._survives(BLOCK)
            self.data[n * BLOCK : n * BLOCK + size] = b"\xff" * size
            return -5 if self.dead else 0
        return 0


class Gateway:
    """Gives plan after plan, each once the device holds the one before and all its results have come."""

    def __init__(self):
        self.digest = 0
        self.results = {}
        self.told = 0
        self.lost = 0
        self.again = 0
        self.highest = 0  # offset up to which blocks of this file have arrived
        self.next_plan()

    def next_plan(self):
        self.digest += 1
        self.model = bytes([random.getrandbits(8) for _ in range(64)]) * random.randint(0, 200) + bytes(
            self.digest % 50
        )
        self.highest = 0
        name = str(self.digest)
        steps = [["kws", 1, sha1(self.model).digest()]]
        self.plan = [self.digest, [["d-" + name, 0, steps], ["e-" + name, 0, [["m-" + name, 0]]]]]

    def blocks(self, request):
        """The payloads that answer a read, as far as they are not lost."""
        digest, index, offset, length, count = request
        assert index == 0
        if digest != self.digest:
            return []
        answer = []
        for _ in range(count):
            data = self.model[offset : offset + length]
            answer.append([digest, index, offset, len(self.model), data])
            offset += length
        return [block for block in answer if not self._loses()]

    def _loses(self):
        lost = random.random() < 0.02
        self.lost += lost
        return lost

    def hear(self, beat):
        """What an ack says of a heartbeat, None where it is lost."""
        beat += [None] * (7 - len(beat))
        have, result, seq = beat[4:]
        assert have in (self.digest - 1, self.digest), (have, self.digest)
        if result:
            name, status, message = result[:3]
            assert status == "SUCCESS", (name, message)
            assert result[5][0][0] == ("kws" if name[0] == "d" else "m-" + name[2:])
            assert int(name[2:]) in (self.digest, self.digest - 1), "a result of another plan"
            self.results[name] = self.results.get(name, 0) + 1
            self.told += 1
        if have == self.digest and not result:
            assert "d-%d" % have in self.results and "e-%d" % have in self.results, "a result was lost"
            self.next_plan()
        return None if seq is None or random.random() < 0.33 else [seq, 0, NOW]


class Device:
    """One life of the device."""

    def __init__(self, flash, gateway, now):
        self.flash = flash
        self.gateway = gateway
        self.now = now
        self.first = True  # no block has been asked for in this life
        self.store = in_file("/flash/state")
        if SAVED[0]:
            text = self.store()
            assert text in SAVED, (text, SAVED)
            SAVED[0] = text
        self.agent = Agent(["1.0.0", [], []], self.install, self.remove, None, 3, self.save, 1024, 4, "/flash/")
        self.agent.start(now, NOW + now, 4711, False)
        self.p = Packer(512, 0)

    def save(self, text=None):
        if text is None:
            return self.store()
        if self.flash.dead:
            raise OSError(5)
        SAVED[1] = text
        self.store(text)
        SAVED[0] = text
        return None

    def install(self, definition):
        if self.flash.dead:
            return
        with open(definition.path, "rb") as file:
            right = file.read() == self.gateway.model
        assert right or self.flash.dead, "a wrong file was installed"

    def remove(self, definition):
        pass

    def live(self):
        """Until the flash dies."""
        while not self.flash.dead:
            self.now += 1
            while self.agent.work(lambda: self.now):
                pass
            if not self.flash.dead and self.agent.digest != self.gateway.digest:
                self.agent.receive("plan", packed(self.gateway.plan))
            while not self.flash.dead and self.speak():
                pass

    def speak(self):
        channel = self.agent.poll(self.now, self.p)
        if not channel or self.flash.dead:
            return None
        value = unpack(self.p.buf[: self.p.pos])
        self.agent.sent(channel)
        if channel == "hb" and not self.flash.dead:
            ack = self.gateway.hear(value)
            if ack:
                self.agent.receive("ack", packed(ack))
        elif channel == "read":
            self.read(value)
        return channel

    def read(self, request):
        gateway = self.gateway
        if request[0] == gateway.digest and self.first:
            self.first = False
            again = max(0, gateway.highest - request[2])
            assert again <= 4096, again
            gateway.again = max(gateway.again, again)
        for block in gateway.blocks(request):
            for _ in range(random.choice((1, 1, 1, 2))):
                self.agent.receive("block", packed(block))
                if self.flash.dead:
                    return
                if self.agent.file and self.agent.file.at >= block[2] + len(block[4]):
                    gateway.highest = max(gateway.highest, block[2] + len(block[4]))


SAVED = [None, None]  # what was saved last, and what was being saved: one of them stands after a cut


def packed(value):
    """msgpack with bytes, which the SDK's writer has no need of."""
    if type(value) is bytes:
        return b"\xc5" + len(value).to_bytes(2, "big") + value
    if type(value) is list:
        return bytes((0x90 | len(value),)) + b"".join([packed(each) for each in value])
    p = Packer(200, 0)
    p.any(value)
    return bytes(p.buf[: p.pos])


def main(cuts, seed):
    random.seed(seed)
    data = bytearray(BLOCK * 128)
    vfs.VfsLfs2.mkfs(Flash(data))
    gateway = Gateway()
    now = 0
    for _ in range(cuts):
        flash = Flash(data)
        vfs.mount(vfs.VfsLfs2(flash), "/flash")
        device = Device(flash, gateway, now)
        flash.left = random.randint(1, random.choice((10, 100, 1000)))
        device.live()
        now = device.now
        vfs.umount("/flash")
        data = bytearray(data)
    said = {"cuts": cuts, "plans": gateway.digest - 1, "results": gateway.told}
    said.update({"lost": gateway.lost, "again": gateway.again})
    print(json.dumps(said))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
