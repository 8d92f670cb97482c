"""Model files: block by block to flash, over lost and repeated blocks, crashes, and what a gateway may do wrong."""

import gc
import os
import sys
from hashlib import sha1

from device_sdk import plan
from device_sdk.agent import Agent, unpack
from device_sdk.heartbeat import Packer
from device_sdk.plan import Plan
from tests.device.support import LAYOUT, NOW, Memory, packed

MODEL = bytes(range(251)) * 80
FOLDER = "files-under-test-"
PATH = FOLDER + "kws"


def clean():
    for handle in ("kws", "vad", "new"):
        for end in ("", ".new", ".old"):
            try:
                os.remove(FOLDER + handle + end)
            except OSError:
                pass


def exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def content(path):
    with open(path, "rb") as file:
        return file.read()


class Device:
    """An agent that has a plan with one model, and what it installed."""

    def __init__(self, model=MODEL, checksum=None, folder=FOLDER, handle="kws", **more):
        self.model = model
        self.now = 0
        self.reads = []
        self.installed = []
        self.agent = Agent(LAYOUT, self.install, lambda definition: None, interval=1000, files=folder, **more)
        self.agent.start(0, NOW, 1, False)
        self.p = Packer(512, 0)
        checksum = checksum or sha1(model).digest()
        self.agent.plan = Plan(self.agent, [7, [["d", 0, [[handle, 1, checksum]]]]])
        self.work()

    def install(self, definition):
        self.installed.append(content(definition.path))

    def work(self):
        while self.agent.work(lambda: self.now):
            pass

    def ask(self, seconds=0):
        """The next read that is due, None where none is."""
        self.now += seconds
        while True:
            channel = self.agent.poll(self.now, self.p)
            if channel in (None, "read"):
                break
            self.agent.sent(channel)
        if channel:
            self.reads.append(unpack(self.p.buf[: self.p.pos]))
            return self.reads[-1]
        return None

    def give(self, offset, length, digest=7, index=0, total=None):
        data = self.model[offset : offset + length]
        if self.agent.file:
            self.agent.file.receive([digest, index, offset, len(self.model) if total is None else total, data])

    def fetch(self, lost=()):
        """Answers every read; of its blocks those whose numbers, counted from the first, are in `lost` never come."""
        n = 0
        while not self.agent.result:
            read = self.ask()
            while not read:
                read = self.ask(1)
            _, _, offset, length, count = read
            for i in range(count):
                if n not in lost and self.agent.file:
                    self.give(offset + i * length, length)
                    self.give(offset + i * length, length)  # QoS 1: twice
                n += 1
            self.work()
        return self.agent.result


def test_a_file_comes_whole_and_is_installed_once():
    clean()
    device = Device()
    assert device.fetch()[1] == "SUCCESS"
    assert device.installed == [MODEL]
    assert [read[2] for read in device.reads] == [0, 512, 512 + 2 * 992, 512 + 10 * 992, 512 + 18 * 992]
    assert device.ask(10) is None
    clean()


def test_an_empty_file_is_a_file():
    clean()
    assert Device(b"").fetch()[1] == "SUCCESS"
    assert content(PATH) == b""
    clean()


def test_lost_blocks_are_asked_for_again():
    for lost in ((0,), (3,), (1, 2), (0, 1, 2, 3), tuple(range(0, 60, 3))):
        clean()
        device = Device()
        assert device.fetch(lost)[1] == "SUCCESS"
        assert device.installed == [MODEL]
    clean()


def test_a_restart_goes_on_where_the_part_ends_and_one_after_the_renaming_asks_for_nothing():
    clean()
    first = Device()
    _, _, offset, length, count = first.ask()
    for i in range(count):
        first.give(offset + i * length, length)
    first.agent.file.file.close()
    second = Device()
    assert second.ask()[2] == count * length
    assert second.fetch()[1] == "SUCCESS"
    third = Device()
    assert third.agent.result[1] == "SUCCESS"
    assert third.installed == [MODEL]
    clean()


def test_a_part_of_another_file_is_noticed_and_costs_no_failure():
    for other in (b"x" * 500, b"x" * 30000):
        clean()
        with open(PATH + ".new", "wb") as file:
            file.write(other)
        assert Device().fetch()[1] == "SUCCESS"
    clean()


def test_a_wrong_file_is_never_installed_and_the_old_one_stays():
    clean()
    with open(PATH, "wb") as file:
        file.write(b"the old one")
    device = Device(checksum=bytes(20))
    result = device.fetch()
    assert (result[1], result[2]) == ("FAIL", "kws: checksum")
    assert device.installed == []
    assert content(PATH) == b"the old one"
    assert not exists(PATH + ".new")
    clean()


def test_blocks_of_another_plan_or_of_no_form_change_nothing():
    clean()
    device = Device()
    read = device.ask()
    device.give(0, read[3], digest=8)
    device.give(0, read[3], index=1)
    device.give(read[3], read[3])
    assert device.agent.file.at == 0
    assert device.fetch()[1] == "SUCCESS"
    clean()


def test_what_a_gateway_refuses_three_times_is_given_up():
    clean()
    device = Device()
    for _ in range(3):
        assert device.agent.result is None
        device.agent.ack([None, 5, NOW, "gone"])
        device.work()
    assert device.agent.result[2] == "kws: gone"
    clean()


def test_what_no_flash_takes_fails_the_deployment_and_raises_nothing():
    assert Device(folder="no-such-directory/").agent.result[1] == "FAIL"
    assert Device(handle="../kws").agent.result[2] == "../kws: handle"


def test_a_checksum_of_another_kind_is_wrong():
    clean()
    assert Device(checksum="md5 of it").fetch()[2] == "kws: checksum"
    clean()


class Full:
    """A file on a flash that is full."""

    def write(self, data):
        raise OSError(28)

    def close(self):
        pass


class Failing(Full):
    """And one that has something left to write, as CPython's."""

    def close(self):
        raise OSError(28)


def test_a_full_flash_fails_the_deployment_and_is_freed():
    for kind in (Full, Failing):
        clean()
        device = Device()
        device.ask()
        device.agent.file.file.close()
        device.agent.file.file = kind()
        device.agent.receive("block", block(MODEL[:992]))
        device.work()
        assert device.agent.result[1] == "FAIL"
        assert device.agent.result[2] == "kws: flash is full"
        assert not exists(PATH + ".new"), "it still fills the flash"


class Short(Full):
    """A file for which there is no memory once."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        device.agent.file.file = self.file
        raise MemoryError


def test_a_block_for_which_there_is_no_memory_comes_again():
    global device
    clean()
    device = Device()
    device.ask()
    device.agent.file.file = Short(device.agent.file.file)
    device.agent.receive("block", block(MODEL[:992]))
    assert device.agent.bad == 1
    assert device.fetch()[1] == "SUCCESS"
    assert content(PATH) == MODEL
    clean()


class System:
    """The module `os` of another firmware: without statvfs; with `failing` renames that fail first."""

    stat, remove = os.stat, os.remove

    def __init__(self, failing=0):
        self.failing = failing

    def rename(self, old, new):
        self.failing -= 1
        if self.failing >= 0:
            raise MemoryError
        os.rename(old, new)


def test_a_firmware_that_cannot_tell_its_free_room_downloads():
    clean()
    plan.os = System()
    try:
        device = Device()
        assert device.fetch()[1] == "SUCCESS"
        assert device.agent.bad == 0
    finally:
        plan.os = os
    assert content(PATH) == MODEL
    clean()


def test_files_for_which_there_was_no_memory_are_moved_before_the_result_is_forgotten():
    models = with_two()
    plan.os = System(2)
    try:
        assert models.carry_out(0, ("kws", b"kws 2"), ("vad", b"vad 2"))[0] == "SUCCESS"
    finally:
        plan.os = os
    assert models.files() == [b"kws 2", b"vad 2", None, None, None, None]
    clean()


def test_an_abandoned_download_goes_with_its_model():
    models = with_two()
    write(FOLDER + "kws.new", b"half of another")
    assert models.carry_out(0, ("kws", None)) == ("SUCCESS", None, [["kws", 0, 1, None, None]])
    assert models.files() == [None, b"vad 1", None, None, None, None]
    clean()


def test_a_part_that_cannot_be_read_to_its_end_is_not_continued():
    """With what was read of it the checksum would be right, and the file wrong."""
    clean()
    write(PATH + ".new", MODEL[:3000])
    present = sys.modules.get("hashlib")
    sys.modules["hashlib"] = Hashes()
    try:
        device = Device()
    finally:
        if present:
            sys.modules["hashlib"] = present
        else:
            del sys.modules["hashlib"]
    assert device.agent.result[2] == "kws: memory is full"
    device.agent.result = device.agent.have = None
    device.agent.plan = Plan(device.agent, [7, [["d", 0, [["kws", 1, sha1(MODEL).digest()]]]]])
    device.work()
    assert device.fetch()[1] == "SUCCESS"
    assert content(PATH) == MODEL
    clean()


class Hashes:
    """A hashlib for which the memory is full at the tenth piece."""

    def sha1(self):
        self.pieces = 0
        return self

    def update(self, data):
        self.pieces += 1
        if self.pieces > 10:
            raise MemoryError


def block(data):
    """The first one of MODEL, 992 bytes."""
    return b"\x95\x07\x00\x00\xce\x00\x00\x4e\x70\xc5\x03\xe0" + data


def test_a_block_that_nobody_asked_for_yet_is_taken():
    clean()
    device = Device()
    device.agent.receive("block", block(MODEL[:992]))
    assert device.agent.bad == 0
    assert device.ask()[2] == 992
    assert device.fetch()[1] == "SUCCESS"
    clean()


def test_a_handle_that_a_deployment_has_twice_fails():
    """One file cannot have two contents, nor be there and not be there."""
    for second in (["kws", 0], ["kws", 1, bytes(20)]):
        clean()
        device = Device()
        plan = [7, [["e", 1, [["kws", 1, sha1(MODEL).digest()], second]]]]
        device.agent.plan = Plan(device.agent, plan)
        device.work()
        _, status, message, _, _, rows = device.fetch()
        assert (status, message) == ("FAIL", "kws: twice")
        assert [row[5] for row in rows] == [1, 0]
        assert device.installed == [MODEL]
        assert content(PATH) == MODEL
    clean()


def test_another_plan_ends_the_download_and_the_same_file_goes_on():
    clean()
    device = Device()
    _, _, _, length, count = device.ask()
    for i in range(count):
        device.give(i * length, length)
    device.agent.plan = Plan(device.agent, [8, [["e", 0, [["kws", 1, sha1(MODEL).digest()]]]]])
    device.work()
    assert device.ask()[:3] == [8, 0, count * length]
    device.agent.file.file.close()
    clean()


def test_a_flash_that_fails_as_a_download_ends_loses_no_later_plan():
    clean()
    device = Device()
    device.ask()
    device.agent.file.file.close()
    device.agent.file.file = Failing()
    device.agent.receive("plan", packed([8, [["e", 0, [["vad", 0]]]]]))
    device.work()
    assert device.agent.bad == 0
    assert device.agent.result[0] == "e"
    clean()


def test_a_download_takes_no_more_than_two_blocks_and_a_kilobyte():
    """Above what the agent with its plan holds; one of the blocks is the buffer in which the payload came."""
    if not hasattr(gc, "mem_alloc"):
        return  # CPython has no heap to count
    clean()
    device = Device()
    _, _, _, length, count = device.ask()
    most = 0
    for n in range(count):
        payload = packed([7, 0, n * length, len(MODEL)])[1:]
        payload = b"\x95" + payload + b"\xc5" + length.to_bytes(2, "big") + MODEL[n * length : (n + 1) * length]
        gc.collect()
        before = gc.mem_alloc()
        device.agent.receive("block", payload)
        most = max(most, gc.mem_alloc() - before)
    assert device.agent.file.at == count * length
    assert length + most <= 2 * length + 1024, most
    device.agent.file.file.close()
    clean()


def test_a_file_that_cannot_be_had_now_makes_no_heartbeat_repeat_its_samples():
    clean()
    device = Device()
    device.agent.sample("rssi", -61)
    assert device.ask() is not None
    assert device.agent.taken == 1
    device.agent.ack([None, 7, NOW, "s3://models/kws cannot be fetched now"])
    assert device.agent.taken == 1
    clean()


class Link:
    """Between a device and its gateway, `rate` bytes/s that come one after another, 50 ms later.

    The device publishes as a port does: it waits for the PUBACK, which comes behind what was sent before.
    """

    HEADERS = 60  # of the packet and the message that carry a block

    def __init__(self, device, rate):
        self.device = device
        self.rate = rate
        self.now = self.free = 0.0  # seconds; when the link has sent everything
        self.coming = []
        self.received = 0
        self.beats = []

    def send(self, size, block=None):
        self.free = max(self.free, self.now + 0.05) + size / self.rate
        self.coming.append((self.free, block))

    def arrive(self):
        at, block = self.coming.pop(0)
        self.now = max(self.now, at)
        if block and self.device.agent.file:
            self.received += block[1]
            self.device.give(*block)
        return block

    def publish(self, channel):
        self.send(4)
        if channel == "read":
            _, _, offset, length, count = unpack(self.device.p.buf[: self.device.p.pos])
            for at in range(offset, min(offset + length * count, len(self.device.model)), length):
                self.send(self.HEADERS + length, (at, length))
        while self.arrive():
            pass
        self.device.agent.sent(channel)

    def step(self):
        device = self.device
        device.now = int(self.now)
        channel = device.agent.poll(device.now, device.p)
        if channel == "hb":
            self.beats.append(self.now)
        if channel:
            self.publish(channel)
        elif self.coming and self.coming[0][0] <= self.now + 1:
            self.arrive()
        else:
            self.now += 1
        device.work()


def test_a_slow_link_carries_a_file_once_and_the_heartbeats_on_their_schedule():
    for rate in (100, 250, 1000, 4000, 1000000):
        clean()
        device = Device(MODEL[:12000])
        device.agent.interval = 10
        link = Link(device, rate)
        while not device.agent.result:
            link.step()
            assert link.now < 250, rate
        assert device.installed == [MODEL[:12000]]
        assert link.received <= 13200, (rate, link.received)
        gaps = [link.beats[i + 1] - link.beats[i] for i in range(len(link.beats) - 1)] + [link.now - link.beats[-1]]
        assert max(gaps) <= 20, (rate, gaps)
        assert len(link.beats) >= link.now // 20
    assert link.now < 0.5
    clean()


class Bursts(Link):
    """A link that carries what waits, 1,024 bytes at most, at once and then rests for as long as these take."""

    waiting = 0  # bytes

    def send(self, size, block=None):
        at = self.now + 0.05
        if at >= self.free and self.waiting:
            self.free += self.waiting / self.rate
            self.waiting = 0
        if at >= self.free:
            self.free = at + size / self.rate
        else:
            self.waiting += size
            at = self.free + self.waiting // 1024 * 1024 / self.rate
        self.coming.append((at, block))


def test_so_does_a_link_that_carries_bursts():
    for rate in (400, 1000):
        clean()
        device = Device(MODEL[:12000])
        device.agent.interval = 10
        link = Bursts(device, rate)
        while not device.agent.result:
            link.step()
            assert link.now < 100, rate
        assert link.received <= 13200, (rate, link.received)
        gaps = [link.beats[i + 1] - link.beats[i] for i in range(len(link.beats) - 1)]
        assert max(gaps) <= 15, (rate, gaps)
    clean()


def test_what_nobody_answers_is_asked_for_less_often_and_for_less():
    clean()
    device = Device()
    times = []
    for now in range(200):
        if device.ask(1):
            times.append(now)
    assert times[:4] == [0, 6, 18, 42]
    assert max([times[i + 1] - times[i] for i in range(len(times) - 1)]) == 30
    assert device.reads[-1][3:] == [256, 1]
    assert device.fetch()[1] == "SUCCESS"
    clean()


def test_a_device_that_takes_little_asks_for_no_more_blocks_than_the_gateway_sends():
    clean()
    device = Device(max_payload=64)
    assert device.fetch()[1] == "SUCCESS"
    assert max([read[4] for read in device.reads]) == 64
    clean()


class Models:
    """A device and the gateway that has its models: what its callbacks saw, and what is in its files."""

    def __init__(self, store=None, files=FOLDER, **more):
        self.calls = []
        self.failing = {}  # by (verb, content): what that call raises
        self.agent = Agent(LAYOUT, self.install, self.remove, store=store, files=files, **more)
        self.agent.start(0, NOW, 1, False)
        self.p = Packer(512, 0)
        self.digest = 0

    def call(self, verb, definition):
        text = definition.path and content(definition.path)
        self.calls.append((verb + definition.handle, text))
        # A new file stands beside the old one as long as the deployment may fail.
        assert definition.path != FOLDER + definition.handle or text == self.before.get(definition.handle)
        for handle in self.before:
            assert content(FOLDER + handle) == self.before[handle]
        if (verb, text) in self.failing:
            raise self.failing[verb, text]

    def install(self, definition):
        self.call("+", definition)

    def remove(self, definition):
        self.call("-", definition)

    def carry_out(self, policy, *models):
        """The result of a deployment of (handle, content); None as content: UNDEPLOY."""
        self.digest += 1
        definitions = [[handle, 0] if text is None else [handle, 1, sha1(text).digest()] for handle, text in models]
        return self.give([self.digest, [["d%d" % self.digest, policy, definitions]]], [text for _, text in models])

    def give(self, plan, texts):
        agent = self.agent
        self.calls.clear()
        self.before = {handle: content(FOLDER + handle) for handle in ("kws", "vad", "new") if exists(FOLDER + handle)}
        agent.receive("plan", plan_bytes(plan))
        while agent.work(lambda: 0):
            pass
        now = 0
        while not agent.result and agent.file:
            now += 1
            self.p.pos = 0
            if agent.file.poll(self.p, now):
                digest, index, offset, length, count = unpack(self.p.buf[: self.p.pos])
                text = texts[index]
                for at in range(offset, offset + length * count, length):
                    if agent.file:
                        agent.file.receive([digest, index, at, len(text), text[at : at + length]])
            while agent.work(lambda: 0):
                pass
        result = agent.result
        if result:
            agent.ack([agent.seq, 0, NOW])
            assert agent.result is None
            while agent.work(lambda: 0):
                pass
        return result and (result[1], result[2], [[row[0]] + list(row[4:]) for row in result[5]])

    def files(self):
        """What is in them: of kws, vad, new, and of what only the SDK knows."""
        names = ["kws", "vad", "new", "kws.new", "vad.new", "new.new"]
        return [content(FOLDER + each) if exists(FOLDER + each) else None for each in names]


def plan_bytes(plan):
    """As packed, which has no bin."""
    digest, ((name, policy, definitions),) = plan
    data = b"\x92" + packed(digest) + b"\x91\x93" + packed(name) + packed(policy) + bytes((0x90 + len(definitions),))
    for values in definitions:
        data += bytes((0x90 + len(values),)) + packed(values[0]) + packed(values[1])
        if len(values) > 2:
            data += b"\xc4\x14" + values[2]
    return data


OLD = ("SUCCESS", None, [["kws", 1, 1, None, None], ["vad", 1, 1, None, None]])


def with_two(**more):
    clean()
    models = Models(**more)
    assert models.carry_out(0, ("kws", b"kws 1"), ("vad", b"vad 1")) == OLD
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    return models


def test_a_deployment_that_succeeds_replaces_all_files():
    models = with_two()
    assert models.carry_out(0, ("kws", b"kws 2"), ("vad", b"vad 2")) == OLD
    assert models.calls == [("+kws", b"kws 2"), ("+vad", b"vad 2")]
    assert models.files() == [b"kws 2", b"vad 2", None, None, None, None]
    clean()


def test_a_rollback_gives_the_old_models_back():
    models = with_two()
    models.failing["+", b"vad 2"] = ValueError("no")
    assert models.carry_out(0, ("new", b"n"), ("kws", b"kws 2"), ("vad", b"vad 2"), ("x", b"x"), ("kws", None)) == (
        "FAIL", "vad: no",
        [["new", 0, 0, "undone", None], ["kws", 1, 0, "undone", None], ["vad", 1, 0, "no", None],
         ["x", 0, 0, "skipped", None], ["kws", 1, 0, "skipped", None]])  # fmt: skip
    assert models.calls == [
        ("+new", b"n"), ("+kws", b"kws 2"), ("+vad", b"vad 2"), ("+vad", b"vad 1"), ("+kws", b"kws 1"), ("-new", b"n"),
    ]  # fmt: skip
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    clean()


def test_an_old_model_that_cannot_be_installed_again_is_reported():
    models = with_two()
    models.failing["+", b"vad 2"] = ValueError("no")
    models.failing["+", b"kws 1"] = models.failing["+", b"vad 1"] = ValueError("never")
    _, _, rows = models.carry_out(0, ("kws", b"kws 2"), ("vad", b"vad 2"))
    assert rows == [["kws", 1, 0, "undone", "never"], ["vad", 1, 0, "no", "never"]]
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    clean()


def test_a_file_that_fails_begins_nothing():
    models = with_two()
    status, message, rows = models.carry_out(0, ("../x", b""), ("kws", b"kws 2"), ("vad", None))
    assert (status, message) == ("FAIL", "../x: handle")
    assert rows[1:] == [["kws", 1, 0, "skipped", None], ["vad", 1, 0, "skipped", None]]
    assert models.calls == []
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    clean()


def test_do_nothing_replaces_what_succeeded_and_keeps_the_rest():
    models = with_two()
    models.failing["+", b"kws 2"] = ValueError("no")
    assert models.carry_out(1, ("kws", b"kws 2"), ("vad", b"vad 2")) == (
        "FAIL", "kws: no", [["kws", 1, 0, "no", None], ["vad", 1, 1, None, None]])  # fmt: skip
    assert models.calls == [("+kws", b"kws 2"), ("+vad", b"vad 2")]
    assert models.files() == [b"kws 1", b"vad 2", None, None, None, None]
    clean()


def test_what_is_undeployed_goes_when_the_deployment_has_succeeded():
    models = with_two()
    models.failing["+", b"vad 2"] = ValueError("no")
    assert models.carry_out(0, ("kws", None), ("vad", b"vad 2"))[2][0] == ["kws", 1, 0, "undone", None]
    assert models.calls == [("-kws", None), ("+vad", b"vad 2"), ("+vad", b"vad 1"), ("+kws", b"kws 1")]
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    assert models.carry_out(0, ("kws", None), ("vad", b"vad 3"))[0] == "SUCCESS"
    assert models.files() == [None, b"vad 3", None, None, None, None]
    clean()


def test_nothing_outside_of_the_folder_is_removed():
    with open("kws-of-somebody", "wb") as file:
        file.write(b"x")
    clean()
    models = Models()
    path = "../" + os.getcwd().split("/")[-1] + "/kws-of-somebody"
    for text in (None, b"y"):
        assert models.carry_out(0, (path, text))[:2] == ("FAIL", path + ": handle")
    assert content("kws-of-somebody") == b"x"
    os.remove("kws-of-somebody")


def test_a_file_that_is_there_already_is_not_fetched_and_not_replaced():
    models = with_two()
    with open(PATH + ".new", "wb") as file:
        file.write(b"half of another")
    assert models.carry_out(0, ("kws", b"kws 1")) == ("SUCCESS", None, [["kws", 1, 1, None, None]])
    assert models.calls == [("+kws", b"kws 1")]
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    clean()


def test_a_cut_before_the_files_are_moved_is_made_up_for_at_the_start():
    models = with_two(store=Memory())
    store = models.agent.store
    saved = []

    def save(text=None):
        if text and models.agent.result:
            saved.append(text)
        return store(text)

    models.agent.store = save
    assert models.carry_out(0, ("kws", b"kws 2"), ("vad", b"vad 2"))[0] == "SUCCESS"
    for gone in ((), ("kws",), ("vad",)):  # where power failed between the two halves of a rename on FAT
        for handle in ("kws", "vad"):
            write(FOLDER + handle + ".new", handle.encode() + b" 2")
            write(FOLDER + handle, handle.encode() + b" 1")
            if handle in gone:
                os.remove(FOLDER + handle)
        store.text = saved[0]
        for _ in range(2):
            again = Models(store=store)
            assert again.agent.result[1] == "SUCCESS"
            assert again.files() == [b"kws 2", b"vad 2", None, None, None, None]
    clean()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def test_a_result_that_says_fail_moves_nothing_at_the_start():
    models = with_two(store=Memory())
    models.failing["+", b"vad 2"] = ValueError("no")
    files = []
    store = models.agent.store

    def save(text=None):
        text = store(text)
        if models.agent.result and not files:
            for _ in range(2):
                files.append(models.files())
                assert Models(store=store).agent.result[1] == "FAIL"
        return text

    models.agent.store = save
    models.carry_out(0, ("kws", b"kws 2"), ("vad", b"vad 2"))
    assert files == [[b"kws 1", b"vad 1", None, b"kws 2", b"vad 2", None]] * 2
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    clean()


def test_a_flash_without_room_for_both_files_says_so_before_the_download():
    models = with_two()
    status, message, rows = models.give([9, [["d", 0, [["kws", 1, bytes(20)]]]]], [Huge()])
    assert status == "FAIL"
    assert message.startswith("kws: flash is full: needs 1125899906842624 bytes, has "), message
    assert rows[0][:3] == ["kws", 1, 0]
    assert models.calls == []
    assert models.files() == [b"kws 1", b"vad 1", None, None, None, None]
    models.agent.replace = True
    models.agent.receive("plan", plan_bytes([10, [["d", 0, [["kws", 1, bytes(20)]]]]]))
    models.agent.work(lambda: 0)
    assert content(PATH) == b"kws 1"
    models.agent.file.receive([10, 0, 0, 1 << 50, b"x"])
    assert not exists(PATH)
    models.agent.file.file.close()
    clean()


class Huge:
    """The content of a file for which no flash has room."""

    def __len__(self):
        return 1 << 50

    def __getitem__(self, piece):
        return b"x"


def test_a_small_flash_takes_a_larger_model_where_the_board_lets_the_old_one_go():
    try:
        from tests.device.flash import Powered, formatted
    except ImportError:
        return  # CPython has no file system in RAM
    with Powered(formatted(56 << 10), 1 << 30):
        models = Models(files="/flash/")
        old = MODEL[:20000]
        assert models.carry_out(0, ("kws", old))[0] == "SUCCESS"
        _, message, rows = models.carry_out(0, ("kws", MODEL * 2))
        assert message.startswith("kws: flash is full: needs 40160 bytes, has "), message
        assert (rows[0][1], content("/flash/kws")) == (1, old)
        models.agent.replace = True
        assert models.carry_out(0, ("kws", MODEL[1:] * 2)) == ("SUCCESS", None, [["kws", 1, 1, None, None]])
        assert content("/flash/kws") == MODEL[1:] * 2
        assert os.listdir("/flash") == ["kws"]
