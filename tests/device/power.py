"""A device under power cuts: `power.py CUTS SEED [files|fat|health]`, run by MicroPython; one JSON line out.

The agent keeps its state, and with `files` its models, on a flash that loses power at a random write, again and again.
Between two cuts it gets plans, and acks that are late, lost or doubled; with `files`, 2 % of the blocks are lost. With
`fat` the models are on FAT, and the state is in memory that keeps it, as a board's RTC; with `health`, old models are
kept until the result is confirmed. The gateway here asserts what
must never be seen, at the moment at which it would be seen. After each start the files must be those that the results
name: of the two models of a deployment both new ones, or both old ones.
"""

import gc
import json
import random
import sys
from hashlib import sha1

from device_sdk.agent import Agent
from device_sdk.health import Health
from device_sdk.heartbeat import Packer
from device_sdk.port import in_file
from tests.device.flash import Powered, formatted
from tests.device.support import LAYOUT, NOW, packed, read, receive, written

MANY = 1 << 30  # writes without a cut
AGAIN = 4096  # bytes of a file that a cut may cost
MAX_PAYLOAD = 512
LOST = 2  # per cent
KEPT = [None]  # what the store may give back


def store():
    """The agent's store on the flash. Asserts that what comes back is what was saved, or what was being saved."""
    file = in_file("/flash/state")

    def checked(text=None):
        if text is None:
            try:
                text = file()
            except OSError:
                assert None in KEPT
                raise
            assert text in KEPT
            KEPT[:] = [text]
            return text
        KEPT.append(text)
        file(text)
        KEPT[:] = [text]
        return None

    return checked


class Gateway:
    """What the world outside knows: it never loses power."""

    def __init__(self, files):
        self.files = files
        self.now = 0  # of the world
        self.plan = 0
        self.models = {}  # of the newest plan: content by handle
        self.before = {}  # of all deployments with a result here
        self.failed = 0
        self.performed = set()
        self.reported = set()
        self.recorded = set()
        self.hellos = set()
        self.carried = {}  # by seq: the deployment whose result came with it
        self.late = []  # acks on their way
        self.reached = None  # how far the newest plan's file has come for sure; None: nothing is known
        self.at = 0  # of the block that is expected next
        self.again = 0  # the most bytes that a cut cost
        self.fresh = True  # no block was asked for since the last boot
        self.installed = 0
        self.next_plan()

    def next_plan(self):
        self.plan += 1
        self.reached = None
        if self.files:
            # Names come again, so that what an abandoned download left is found by another one.
            self.models = {"m-%d" % (self.plan % 3): content(20000), "n-%d" % (self.plan % 2): content(3000)}

    def plan_value(self):
        k = self.plan
        if not self.files:
            return [k, [["d-%d" % k, k % 2, [["m-%d" % k, 1], ["never", 1]] if k % 3 else [["m-%d" % k, 1]]]]]
        models = [[each, 1, sha1(self.models[each]).digest()] for each in self.handles()]
        return [k, [["d-%d" % k, 0, models]]]

    def handles(self):
        return sorted(self.models)

    def take(self, channel, value):
        if channel == "hello":
            self.hellos.add(value[0])
        elif channel == "read":
            return self._blocks(*value)
        elif channel == "hb":
            assert value[0] in self.hellos, "a heartbeat under a tag without a hello"
            have, result, seq = (value + [None] * 5)[4:7]
            if have:
                self.reported.add(have)
            if result:
                self._result(result, seq)
            if seq is not None:
                for _ in range(random.choice((0, 1, 1, 1, 2))):
                    self.late.append(packed((seq, 0, NOW + self.now)))
        return []

    def _result(self, result, seq):
        k = int(result[0][2:])
        assert k in self.performed, "a result of what was not done: %s" % result
        assert self.carried.setdefault(seq, k) == k, "one seq for two results"
        handle = result[5][0][0]
        assert handle == "m-%d" % (k % 3 if self.files else k), "a result of another deployment"
        fails = not k % 4 if self.files else k % 3
        assert result[1] == ("FAIL" if fails else "SUCCESS"), result
        if self.files and k not in self.recorded:
            for row in result[5]:
                assert row[4] == (1 if not fails or row[0] in self.before else 0), result
            if fails:
                self.failed += 1
            else:
                self.before.update(self.models)
        self.recorded.add(k)

    def check(self, result):
        """After a start: the files are those that the results name."""
        models = dict(self.before)
        if result and result[1] == "SUCCESS" and result[0] == "d-%d" % self.plan:
            models.update(self.models)
        for handle in ("m-0", "m-1", "m-2", "n-0", "n-1"):
            try:
                with open("/flash/" + handle, "rb") as file:
                    data = file.read()
            except OSError:
                data = None
            assert data == models.get(handle), "the file of %s is not that of the result" % handle

    def _blocks(self, digest, index, offset, length, count):
        assert digest == self.plan
        data = self.models[self.handles()[index]]
        if index:
            return self._range(digest, index, offset, length, count, data)
        if self.fresh and self.reached is not None:
            self.again = max(self.again, self.reached - offset)
            self.reached = min(self.reached, offset)
        if self.reached is None and offset:
            self.reached = -MANY  # another file's beginning lies there: all of it will be read again
        self.fresh = False
        self.at = offset
        return self._range(digest, index, offset, length, count, data)

    def _range(self, digest, index, offset, length, count, data):
        size = len(data)
        return [
            (None if index else at, length, packed_block(digest, index, at, size, data[at : at + length]))
            for at in range(offset, min(max(size, offset + 1), offset + length * count), length)
            if random.randint(1, 100) > LOST
        ]

    def install(self, definition):
        if definition.handle == "never":
            raise ValueError("never")
        if self.files:
            handle = definition.handle
            with open(definition.path, "rb") as file:
                data = file.read()
            if data != self.models[handle]:
                assert data == self.before[handle], "a half or a wrong file"
                assert not self.plan % 4
            elif not self.plan % 4 and handle == self.handles()[1]:
                raise ValueError("the second one fails")
            self.installed += 1

    def remove(self, definition):
        assert not self.files or definition.handle not in self.before, "a model that was there before is removed"


def content(size):
    piece = bytes([random.getrandbits(8) for _ in range(97)])
    return (piece * 400)[: random.randint(0, size)]


def packed_block(digest, index, at, size, data):
    """The Packer writes no bin: a device sends none."""
    return b"\x95" + packed(digest) + packed(index) + packed(at) + packed(size) + b"\xc5" + bytes(
        (len(data) >> 8, len(data) & 255)) + data  # fmt: skip


class Kept:
    """A store in memory that a cut spares, but in which a dead program writes nothing."""

    text = None

    def __init__(self, flash):
        self.flash = flash

    def __call__(self, text=None):
        if text and not self.flash.dead:
            Kept.text = text
        return Kept.text


class Boot:
    """From one boot to the next cut. Uptime begins at 0 at each boot; every second boot has no clock."""

    def __init__(self, gateway, flash):
        self.gateway = gateway
        self.flash = flash
        self.boot = gateway.now
        self.wrong = None
        files = "/flash/" if gateway.files else None
        kept = Kept(flash) if gateway.files == "fat" else store()
        self.agent = Agent(
            LAYOUT, self.install, self.remove, store=kept, max_payload=MAX_PAYLOAD, files=files, interval=20
        )
        if gateway.files == "health":
            Health(self.agent, in_file("/flash/health"), MANY)
        unix = NOW + gateway.now if random.getrandbits(1) else None
        self.agent.start(0, unix, random.getrandbits(16), False)
        if files and not flash.dead:
            gateway.check(self.agent.result)
        self.p = Packer(512, 0)
        self.receive("plan", packed(gateway.plan_value()) if not files else plan_bytes(gateway.plan_value()))
        gateway.fresh = True

    def install(self, definition):
        # What is raised here would be a StatusReason.
        try:
            self.gateway.install(definition)
        except (AssertionError, OSError, KeyError) as error:
            self.wrong = error
            raise
        finally:
            self.gateway.performed.add(self.gateway.plan)

    def remove(self, definition):
        try:
            self.gateway.remove(definition)
        except AssertionError as error:
            self.wrong = error
            raise

    def now(self):
        return self.gateway.now - self.boot

    def receive(self, channel, data):
        if not self.flash.dead:
            receive(self.agent, channel, data)

    def work(self):
        while not self.flash.dead and self.agent.work(self.now):
            pass

    def step(self):
        """A moment: messages that are due are sent, late ones arrive, and what can be done is done."""
        gateway = self.gateway
        gateway.now += random.randint(0, 5)
        for _ in range(4):
            channel = self.agent.poll(self.now(), self.p)
            if channel is None or self.flash.dead:
                break
            blocks = gateway.take(channel, read(written(self.p)))
            if random.getrandbits(4):  # or else the connection breaks before the PUBACK
                self.agent.sent(channel)
            for at, length, block in blocks:
                for _ in range(random.choice((1, 1, 1, 2))):  # QoS 1 may deliver twice
                    self.block(at, length, block)
        if gateway.late and random.getrandbits(1):
            self.receive("ack", gateway.late.pop(random.randrange(len(gateway.late))))
        self.work()
        if self.flash.dead:
            return
        if self.wrong:
            raise self.wrong
        assert not self.agent.bad

    def block(self, at, length, block):
        self.receive("block", block)
        self.work()
        gateway = self.gateway
        if at is not None and not self.flash.dead and gateway.at == at:  # what comes behind a lost block is not taken
            gateway.at = min(at + length, len(gateway.models[gateway.handles()[0]]))
            if gateway.reached is None or gateway.reached >= 0:
                gateway.reached = max(gateway.reached or 0, gateway.at)

    def goes_on(self):
        """Whether something is still to be reported or done."""
        gateway = self.gateway
        return gateway.plan not in gateway.recorded or gateway.plan not in gateway.reported


def plan_bytes(value):
    digest, ((name, policy, models),) = value
    data = b"\x92" + packed(digest) + b"\x91\x93" + packed(name) + packed(policy) + bytes((0x90 + len(models),))
    for handle, state, checksum in models:
        data += b"\x93" + packed(handle) + packed(state) + b"\xc4\x14" + checksum
    return data


def main(cuts, seed, files=""):
    random.seed(int(seed))
    fat = files == "fat"
    data = formatted(1 << 20 if fat else 1 << 18, fat)  # FAT loses clusters where it is cut
    gateway = Gateway(files)
    for _ in range(int(cuts)):
        with Powered(data, random.randint(0, 200 if files else 40), fat) as flash:
            boot = Boot(gateway, flash)
            while not flash.dead:
                boot.step()
                if not boot.goes_on() and not flash.dead:
                    assert gateway.reported <= gateway.recorded, "a result is lost"
                    gateway.next_plan()
                    boot.receive("plan", plan_bytes(gateway.plan_value()) if files else packed(gateway.plan_value()))
        gc.collect()
    with Powered(data, MANY, fat) as flash:
        boot = Boot(gateway, flash)
        while boot.goes_on():
            boot.step()
    assert gateway.reported <= gateway.recorded, "a result is lost"
    found = {"plans": gateway.plan, "again": gateway.again, "installed": gateway.installed, "failed": gateway.failed}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
