"""Store and forward: samples stay until their ack came, in RAM or in files, and each arrives with its own date."""

import json
import os

from device_sdk import backlog
from device_sdk.backlog import FILES, Backlog, parse
from device_sdk.heartbeat import Packer
from tests.device.random_heartbeats import Dice
from tests.device.support import LAYOUT, NOW, packed, raises, read, receive, written

PATH = "backlog-under-test-"


def clean():
    for n in range(FILES):
        try:
            os.remove(PATH + str(n))
        except OSError:
            pass


def size():
    total = 0
    for n in range(FILES):
        try:
            total += os.stat(PATH + str(n))[6]
        except OSError:
            pass
    return total


class Device:
    """A device that measures "rssi", numbers that only grow. The world's time is `now`, in Unix seconds."""

    def __init__(self, now=NOW, clock=True, count=0, saved=None, woke=False, path=PATH, tag=4711, **more):
        self.store = saved or [None]
        more.setdefault("interval", 10)
        self.agent = Backlog(LAYOUT, print, print, self.measure, store=self.keep, path=path, **more)
        self.boot = now
        self.now = now
        self.clock = clock
        self.skew = 0  # by which the clock was set since
        self.count = count
        self.dates = {}  # of what was measured
        self.got = []  # (number, date) of what was accepted
        self.epochs = {}
        self.published = []
        self.p = Packer(512, 20)
        self.agent.start(0, now if clock else None, tag, woke)

    def keep(self, text=None):
        if text is None:
            return self.store[0]
        self.store[0] = text
        return None

    def measure(self, agent):
        self.count += 1
        self.dates[self.count] = self.now
        agent.sample("rssi", self.count)

    def pass_offline(self, seconds):
        for _ in range(seconds):
            self.now += 1
            self.agent.update(self.now - self.boot)

    def beat(self, code=0, after=0):
        """Whatever is due, and an ack with that code for all that asks for one. None: no ack comes."""
        self.now += after
        sent = []
        while True:
            if self.clock:
                self.agent.clock(self.now - self.boot, self.now + self.skew)
            channel = self.agent.poll(self.now - self.boot, self.p)
            if channel is None:
                return sent
            value = read(written(self.p))
            self.agent.sent(channel)
            if channel == "hello":
                self.epochs[value[0]] = value[2]
                continue
            if channel != "hb":
                continue
            sent.append(value)
            if code == 0:
                self.accept(value)
            if len(value) > 6 and code is not None:
                receive(self.agent, "ack", packed((value[6], code, self.now)))

    def accept(self, value):
        cell = value[2][1] if len(value) > 2 and value[2] else None
        if cell is not None:
            cell = cell if type(cell) is list else [cell, 0]
            epoch = self.epochs.get(value[0]) or self.agent.epoch
            for i in range(0, len(cell), 2):
                self.got.append((cell[i], epoch and epoch + value[1] - cell[i + 1]))


def numbers(device):
    return [number for number, _ in device.got]


def test_a_limit_that_is_too_small_is_the_callers_error():
    raises(ValueError, lambda: Backlog(LAYOUT, path=PATH, limit=1000))
    Backlog(LAYOUT, limit=1000)
    clean()


def test_each_heartbeat_with_samples_asks_for_an_ack_and_they_stay_until_it_came():
    for path in (None, PATH):
        clean()
        device = Device(path=path)
        assert device.agent.error is None
        (beat,) = device.beat(None)
        assert beat[2] == [None, 1]
        assert device.agent.busy
        assert device.agent.accepted == 0
        receive(device.agent, "ack", packed((beat[6], 0, NOW)))
        assert not device.agent.busy
        assert (device.agent.accepted, device.agent.count) == (1, 0)
        receive(device.agent, "ack", packed((beat[6], 0, NOW)))  # again
        assert device.agent.accepted == 1
        for code in (1, 4):
            device.beat(code, 10)
            assert (device.agent.accepted, device.agent.count, device.agent.busy) == (1, 0, False)
        assert device.agent.lost[0] == 2
        assert size() == 0
    clean()


def test_without_an_ack_a_batch_is_repeated_after_waits_that_grow():
    for path in (None, PATH):
        clean()
        device = Device(path=path, keep=80)
        with_samples = []
        seqs = []
        for n in range(70):
            for beat in device.beat(None, 10):
                if len(beat) > 2 and beat[2]:
                    with_samples.append(n)
                    seqs.append(beat[6])
        assert [with_samples[i + 1] - with_samples[i] for i in range(7)] == [1, 2, 4, 8, 16, 16, 16]
        assert len(set(seqs)) == len(seqs)
        device.beat(0, 10)
        for _ in range(20):
            device.beat(0, 10)
        assert sorted(set(numbers(device))) == list(range(1, device.count + 1))
        assert not device.agent.busy
    clean()


def test_other_codes_drop_nothing():
    for path in (None, PATH):
        clean()
        device = Device(path=path)
        for code in (2, 3, 7, 5, 6, 99):
            device.beat(code, 70)
        for _ in range(99):
            device.beat(0, 10)
        assert sorted(set(numbers(device))) == list(range(1, device.count + 1))
    clean()


def test_a_late_ack_of_an_earlier_heartbeat_confirms_nothing():
    device = Device(path=None)
    (first,) = device.beat(None)
    (second,) = device.beat(None, 10)
    receive(device.agent, "ack", packed((first[6], 0, NOW)))
    assert (device.agent.accepted, device.agent.count) == (0, 2)
    receive(device.agent, "ack", packed((second[6], 0, NOW)))
    assert (device.agent.accepted, device.agent.count) == (2, 0)
    clean()


def test_under_the_seq_of_a_result_always_the_same_samples_are_sent():
    device = Device(path=None)
    device.beat()
    receive(device.agent, "plan", packed([7, [["a", 0, [["kws", 1]]]]]))
    while device.agent.work(lambda: device.now - device.boot):
        pass
    (empty,) = device.beat(None)
    assert empty[5][0] == "a"
    (second,) = device.beat(None, 10)
    assert second[6] == empty[6]
    assert second[2:3] == [None], "an ack of the first one would confirm them"
    receive(device.agent, "ack", packed((empty[6], 0, NOW)))
    assert device.agent.result is None
    device.beat(0, 10)
    assert numbers(device) == [1, 2, 3]
    # With samples in the first one: the same ones are repeated.
    device.agent.result = ["b", "SUCCESS", None, 0, 0, []]
    device.agent.seq += 1
    (third,) = device.beat(None, 10)
    (fourth,) = device.beat(None, 10)
    assert (third[6], third[2][1]) == (fourth[6], fourth[2][1][0])
    receive(device.agent, "ack", packed((third[6], 0, NOW)))
    assert device.agent.count == 1
    clean()


def test_a_result_that_cannot_be_reported_holds_no_samples_back():
    device = Device(path=None)
    device.beat()
    device.p = Packer(90, 20)
    device.agent.result = ["d" * 200, "SUCCESS", None, 0, 0, []]
    device.agent.seq += 1
    device.beat(0, 10)
    device.beat(0, 10)
    assert numbers(device) == [1, 2, 3]
    clean()


def test_while_acks_come_nothing_is_written():
    clean()
    device = Device()
    for _ in range(50):
        device.beat(0, 10)
        assert size() == 0
    assert len(device.got) == 50 - (device.count < 50)
    clean()


def test_an_outage_is_in_the_files_and_arrives_after_a_loss_of_power_with_its_dates():
    clean()
    device = Device(keep=8)
    device.beat()
    device.pass_offline(300)
    assert 29 < device.count < 40
    kept = size()
    assert 0 < kept <= 16384
    again = Device(device.now + 1000, saved=device.store, count=device.count, keep=8)
    for _ in range(3):
        again.beat(0, 10)
    assert size() == 0
    dates = dict(device.dates)
    dates.update(again.dates)
    for number, date in again.got:
        assert date == dates[number], number
    missing = set(range(2, again.count + 1)) - set(numbers(again))
    assert missing <= {device.count}, "what was measured last was not yet written"
    old = [number for number in numbers(again) if number <= device.count]
    assert old == sorted(old), "the oldest first"
    clean()


def test_the_clock_may_be_set_during_an_outage():
    clean()
    device = Device(keep=8)
    device.beat()
    device.pass_offline(100)
    assert size() > 0
    device.skew = 500
    for _ in range(3):
        device.beat(0, 10)
    assert [date - device.dates[number] for number, date in device.got] == [0] + [500] * (device.count - 1)
    assert size() == 0
    clean()


def test_the_oldest_are_dropped_and_counted_once_the_files_are_full():
    clean()
    device = Device(keep=8, limit=4 * 600)
    device.beat()
    for _ in range(100):
        device.pass_offline(10)
        assert size() <= 4 * 600
    for _ in range(3):
        device.beat(0, 10)
    lost = device.agent.lost[0]
    assert lost > 20
    got = numbers(device)
    assert got == [1] + list(range(lost + 2, device.count + 1))
    assert device.agent.lost[1] == device.dates[lost + 1] - device.boot
    assert size() == 0
    clean()


def test_without_a_clock_what_an_earlier_boot_measured_has_no_date_and_is_dropped():
    clean()
    device = Device(clock=False, keep=8)
    device.pass_offline(100)
    assert size() > 0
    again = Device(clock=False, saved=device.store, keep=8, tag=9)
    for _ in range(3):
        again.beat(0, 10)
    assert again.agent.lost[0] > 8
    assert size() == 0
    # After a deep sleep its time goes on.
    device = Device(clock=False, keep=8)
    device.beat(None)
    device.pass_offline(100)
    device.agent.save(60)
    again = Device(device.now + 60, clock=False, saved=device.store, keep=8, woke=True, count=device.count, tag=9)
    for _ in range(3):
        again.beat(0, 10)
    assert numbers(again)[:5] == [1, 2, 3, 4, 5]
    assert (again.agent.lost[0], size()) == (0, 0)
    clean()


def test_files_wait_for_a_clock_that_the_first_ack_gives():
    clean()
    device = Device(keep=8)
    device.beat()
    device.pass_offline(100)
    again = Device(device.now + 100, clock=False, saved=device.store, keep=8, count=device.count, tag=9)
    again.beat(None)
    assert size() > 0
    for _ in range(4):
        again.beat(0, 10)
    assert size() == 0
    assert [number for number in numbers(again) if number < device.count] == list(range(2, device.count))
    clean()


def test_what_is_dropped_before_files_that_wait_for_a_clock_is_counted_once():
    clean()
    for tag, clock in ((1, False), (2, True)):
        device = Device(clock=clock, tag=tag)
        device.agent.sample("rssi", tag)
        device.agent.save(60)
    again = Device(clock=False, tag=3)
    for _ in range(4):
        again.beat(None, 10)
    assert (again.agent.lost[0], size() > 0) == (1, True)
    for _ in range(4):
        again.beat(0, 10)
    assert (again.agent.lost[0], size()) == (1, 0)
    assert numbers(again)[-1] == 8
    assert 2 in numbers(again)
    clean()


def test_another_layout_or_a_smaller_ring_drops_what_it_cannot_name():
    clean()
    device = Device(keep=16)
    device.beat(None)
    for n in range(16):
        device.agent.sample("temperature", n)
    device.agent.save(60)
    other = Device(device.now + 60, keep=6)
    other.beat()
    assert (other.agent.lost[0], size()) == (16, 0) or other.agent.lost[0] >= 16
    device = Device(keep=16)
    device.pass_offline(99)
    other = Backlog(["2", [["sys", "rssi"]], []], path=PATH)
    other.start(0, NOW + 200, 1, False)
    p = Packer(512, 20)
    for _ in range(4):
        channel = other.poll(0, p)
        if channel:
            other.sent(channel)
    assert other.lost[0] > 0
    clean()


def test_a_sleeper_knows_that_its_batch_was_accepted():
    clean()
    device = Device(interval=600)
    device.beat(None)
    assert device.agent.busy
    device.agent.save(600)  # it may not stay awake any longer
    assert size() > 0
    again = Device(device.now + 600, saved=device.store, woke=True, interval=600, count=1)
    again.beat(0)
    assert not again.agent.busy
    assert sorted(numbers(again)) == [1, 2]
    assert again.agent.accepted == 2
    again.agent.save(600)
    assert size() == 0, "nothing is written where all was accepted"
    clean()


def test_a_flash_that_is_full_stops_nothing():
    device = Device(path="no-such-folder/backlog", keep=8)
    device.beat()
    device.pass_offline(300)
    assert isinstance(device.agent.error, OSError)
    device.beat(0, 10)
    assert len(device.got) == 9
    assert device.agent.lost[0] == device.count - 9
    clean()


class Full:
    """A json for which the memory is full."""

    def loads(self, text):
        raise MemoryError

    dumps = loads


def test_a_memory_that_is_full_stops_no_heartbeat_and_loses_nothing():
    clean()
    device = Device()
    device.beat()
    device.pass_offline(60)
    kept = size()
    backlog.json = Full()
    try:
        device.pass_offline(40)  # nothing can be written
        device.agent.sample("rssi", 0)
        device.agent.save(60)
        assert size() == kept > 0
        again = [device.beat(after=10) for _ in range(3)]  # nothing can be read
        assert [len(sent) > 0 for sent in again] == [True] * 3
        assert isinstance(device.agent.error, MemoryError)
        assert size() == kept
    finally:
        backlog.json = json
    for _ in range(5):
        device.beat(after=10)
    assert sorted(set(numbers(device))) == list(range(device.count + 1))
    assert device.agent.lost[0] == 0
    assert size() == 0


class BrokenFlash:
    """The module os, but for one call that fails."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        if name == self.name:
            raise OSError(5)
        return getattr(os, name)


def test_a_flash_that_fails_at_the_start_stops_nothing():
    for call in ("stat", "remove"):
        clean()
        device = Device()
        device.beat(None)
        device.agent.save(60)
        with open(PATH + "1", "wb") as file:
            file.write(b"torn")
        backlog.os = BrokenFlash(call)
        try:
            again = Device(device.now + 60, saved=device.store, count=1)
        finally:
            backlog.os = os
        assert again.agent.error.args[0] == 5
        again.agent.error = None
        again.agent.sample("rssi", 7)
        again.agent.save(60)
        assert again.agent.error is None
        for _ in range(3):
            again.beat(0, 10)
        assert sorted(set(numbers(again)))[:2] == [1, 2]
        assert 7 in numbers(again)
    clean()


def test_floats_and_large_numbers_and_metrics_of_models_come_back():
    clean()
    device = Device()
    values = [0.1, -1.5e-7, 3.0e38, (1 << 64) - 1, -(1 << 63), 0]
    for value in values:
        device.agent.sample("keyword-spotting/confidence", value)
    device.agent.save(60)
    again = Device(device.now + 60, saved=device.store)
    agent = again.agent
    agent.load()
    items = agent.other[0]
    assert [items[3 * n + 1] for n in range(len(values))] == values
    assert [items[3 * n][0] is agent.hb[3][0][2] and items[3 * n][1] for n in range(len(values))] == [1] * len(values)
    clean()


def test_whatever_byte_is_torn_or_flipped_the_other_records_are_whole():
    clean()
    device = Device(keep=8)
    device.beat()
    device.pass_offline(60)
    with open(PATH + "0", "rb") as file:
        whole = file.read()
    dice = Dice(7)
    for n in range(300):
        data = bytearray(whole)
        if n % 2:
            data = data[: dice.below(len(data))]
        else:
            data[dice.below(len(data))] ^= 1 << dice.below(8)
        with open(PATH + "0", "wb") as file:
            file.write(data)
        again = Device(device.now + 100, saved=list(device.store), keep=8, count=100)
        for _ in range(2):
            again.beat(0, 10)
        old = [(number, date) for number, date in again.got if number <= 100]
        for number, date in old:
            assert device.dates[number] == date
        assert len(old) >= (0 if n % 2 else 3)
        assert size() == 0
        assert (again.agent.bad, again.agent.error) == (0, None)
    clean()


def cut(device, dice):
    """A power cut. Often the last write is torn. Returns the newest number that is on the disk for sure."""
    agent = device.agent
    safe = device.count - agent.count
    if agent.first > agent.newest or not dice.below(3):
        return safe
    with open(agent.name(agent.newest), "rb") as file:
        data = file.read()
    at = data.rfind(b"\n")
    record = parse(data[at + 1 :])
    if not record:  # torn by an earlier cut
        return safe
    with open(agent.name(agent.newest), "wb") as file:
        file.write(data[: at + dice.below(len(data) - at)])
    return safe - len(record[6]) // 3


def test_random_lives_lose_nothing_but_what_was_measured_last_and_no_date_is_wrong():
    for seed in range(1, 13):
        clean()
        dice = Dice(seed)
        device = Device(keep=8, limit=40000)
        gone = set()  # what the cuts may have taken
        got = {}
        dates = {}
        for _ in range(150):
            kind = dice.below(10)
            if kind < 4:
                device.beat((0, 0, None, 2, 7)[dice.below(5)], dice.below(12))
            elif kind < 9:
                device.pass_offline(dice.below(40))
            else:
                safe = cut(device, dice)
                gone.update(range(safe + 1, device.count + 1))
                dates.update(device.dates)
                got.update(dict(device.got))
                more = {"saved": device.store, "count": device.count, "keep": 8, "limit": 40000}
                device = Device(device.now + dice.below(90), **more)
        for _ in range(300):
            device.beat(0, 10)
        dates.update(device.dates)
        got.update(dict(device.got))
        for number, date in got.items():
            assert date == dates[number], seed
        assert set(dates) - set(got) <= gone, seed
        assert device.agent.lost[0] == 0
        assert size() == 0
        assert device.agent.bad == 0
    clean()
