"""The agent: what is due when, what each ack's code does, the epoch learnt without a clock, and what outlives power."""

import gc

from device_sdk.agent import Agent
from device_sdk.heartbeat import Packer
from tests.device.support import LAYOUT, NOW, packed, payload, raises, read, receive, vectors, written


class Memory:
    """A store that counts."""

    def __init__(self, text=None):
        self.text = text
        self.saves = 0
        self.full = False

    def __call__(self, text=None):
        if text is None:
            if self.text is None:
                raise OSError(2)
            return self.text
        if self.full:
            raise OSError(28)
        self.text = text
        self.saves += 1
        return None


class Device:
    """An agent and what it has published, as (channel, value)."""

    def __init__(self, unix=NOW, tag=4711, store=None, install=None, now=0, woke=False, **more):
        self.agent = Agent(LAYOUT, install=install, remove=install, store=store, **more)
        self.agent.start(now, unix, tag, woke)
        self.now = now
        self.p = Packer(512, 20)

    def publish_due(self, now=None):
        """Everything that is due at `now`."""
        self.now = self.now if now is None else now
        published = []
        while True:
            channel = self.agent.poll(self.now, self.p)
            if channel is None:
                return published
            published.append((channel, read(written(self.p))))
            self.agent.sent(channel)

    def ack(self, *values):
        receive(self.agent, "ack", packed(tuple(values)))

    def plan(self, digest, *names):
        receive(self.agent, "plan", packed([digest, [[name, 0, [["kws", 1]]] for name in names]]))
        self.work()

    def work(self):
        while self.agent.work(lambda: self.now):
            pass


def ok(definition):
    pass


def test_limits_that_cannot_work_are_the_callers_error():
    for more in ({"interval": 0}, {"interval": -5}, {"max_payload": 0}, {"max_payload": 32}):
        assert str(raises(ValueError, lambda: Agent(LAYOUT, **more))) in more


def saved(store):
    """The state of a device with a result that waits, whose reason is long and not of ASCII."""

    def install(definition):
        raise ValueError("gr\u00f6\u00dfe" * 20)

    device = Device(store=store, install=install, unix=NOW)
    device.publish_due()
    device.plan(7, "a")
    device.publish_due(5)
    device.agent.save(60)
    return device.agent.result


def test_a_state_that_is_not_the_whole_of_what_was_saved_is_none():
    store = Memory()
    result = [list(row) if type(row) is tuple else row for row in saved(store)]
    result[5] = [list(row) for row in result[5]]
    for text in (store.text, store.text.encode()):
        device = Device(store=Memory(text), install=ok, woke=True)
        assert device.publish_due(1)[0][1][:2] == [4711, 1]
        assert device.agent.result == result
    whole = store.text.encode()
    torn = [whole[:n] for n in range(len(whole))]  # FAT: the file may have its new size and old or no bytes
    torn += [whole[:n] + bytes(len(whole) - n) for n in range(len(whole))]
    torn += [
        whole + whole,
        whole + b"x",
        b"[]",
        b"{}",
        b"5",
        b"[null]",
        b"[0]",
        b"null",
        b"[4711, 0, 1, 2, 3, 0, [], null]",
    ]
    for n in range(len(whole)):
        flipped = bytearray(whole)
        flipped[n] ^= 1 << n % 8
        torn.append(bytes(flipped))
    for text in torn:
        device = Device(store=Memory(text), install=ok)
        if device.agent.result != result:  # a space that became another one changes nothing
            assert device.agent.result is None, text
            assert device.publish_due()[-1] == ("hb", [4711, 0, None, None, 0]), text


def test_a_sleep_of_no_whole_seconds_leaves_whole_times():
    store = Memory()
    device = Device(store=store, unix=None)
    device.publish_due(5)
    device.agent.save(9.5)
    assert Device(store=store, unix=None, woke=True).publish_due()[-1][1][1] == 14


def test_the_agent_is_busy_until_nothing_is_under_way():
    device = Device(install=ok)
    assert device.agent.busy, "the hello"
    device.publish_due()
    assert not device.agent.busy
    receive(device.agent, "plan", packed([7, [["a", 0, [["kws", 1]]]]]))
    assert device.agent.busy, "the plan"
    device.work()
    assert device.agent.busy, "the result"
    device.ack(device.publish_due(1)[0][1][6], 0, NOW)
    assert not device.agent.busy
    device.ack(None, 5, NOW)
    assert device.agent.busy, "the get"
    device.publish_due(2)
    assert not device.agent.busy
    device = Device()
    device.publish_due()
    device.plan(7, "a")
    assert not device.agent.busy, "without callbacks"


def test_hello_comes_first_and_once():
    device = Device()
    assert device.publish_due() == [("hello", [4711, LAYOUT, NOW, 1024]), ("hb", [4711, 0])]
    assert device.publish_due(1) == []
    assert device.agent.wait(1) > 0


def test_flags_and_limits_are_in_hello():
    assert Device(files="", max_payload=None).publish_due()[0][1] == [4711, LAYOUT, NOW, None, 1]


def test_heartbeats_come_at_most_an_eighth_early_and_are_measured_then():
    device = Device(measure=lambda agent: agent.sample("rssi", -60), interval=80)
    times = []
    for now in range(1000):
        for channel, value in device.publish_due(now):
            if channel == "hb":
                times.append(now)
                assert value == [4711, now, [None, -60]]
    gaps = [times[i + 1] - times[i] for i in range(len(times) - 1)]
    assert min(gaps) >= 70
    assert max(gaps) <= 80
    assert len(set(gaps)) > 1


def test_a_device_without_callbacks_says_nothing_of_plans():
    device = Device()
    device.plan(7, "a")
    assert device.publish_due() == [("hello", [4711, LAYOUT, NOW, 1024]), ("hb", [4711, 0])]


def test_callbacks_that_come_or_go_with_a_new_program_are_what_counts():
    store = Memory()
    Device(store=store).publish_due()
    device = Device(store=store, install=ok)
    assert device.publish_due() == [("hello", [4710, LAYOUT, NOW, 1024]), ("hb", [4710, 0, None, None, 0])]
    device.plan(7, "a")
    assert device.agent.have == 7
    device = Device(store=store)
    device.plan(8, "b")
    assert device.agent.result[0] == "a", "what was done is still reported"
    assert device.agent.have is None


def test_what_was_not_sent_is_written_again():
    device = Device()
    assert device.agent.poll(0, device.p) == "hello"
    assert device.publish_due()[0][0] == "hello"


def test_samples_wait_for_the_heartbeat_with_their_ages():
    device = Device()
    device.publish_due()
    device.agent.sample("rssi", -60, 10)
    device.agent.sample("rssi", -61, 50)
    assert device.publish_due(60) == [("hb", [4711, 60, [None, [-60, 50, -61, 10]]])]


def test_a_result_is_repeated_under_one_seq_until_it_is_acked():
    for code in (0, 1, 4):
        device = Device(install=ok)
        device.publish_due()
        device.plan(7, "a")
        seqs = []
        for now in (5, 100, 200):
            value = device.publish_due(now)[0][1]
            assert value[4:6] == [7, ["a", "SUCCESS", None, now, now, [["kws", None, None, 1, 1, 1]]]]
            seqs.append(value[6])
        assert len(set(seqs)) == 1
        device.ack(seqs[0] + 1, 0, NOW)
        device.ack(None, code, NOW)
        assert len(device.publish_due(300)[0][1]) == 7
        device.ack(seqs[0], code, NOW)
        assert device.publish_due(400) == [("hb", [4711, 400, None, None, 7])]


def test_results_go_one_after_another_each_with_its_own_seq():
    device = Device(install=ok)
    device.publish_due()
    device.plan(7, "a", "b")
    first = device.publish_due(1)[0][1]
    device.ack(first[6], 0, NOW)
    device.work()
    second = device.publish_due(1)[0][1]  # at once, not a minute later
    assert (first[5][0], second[5][0]) == ("a", "b")
    assert first[6] != second[6]
    device.ack(first[6], 0, NOW)
    assert device.publish_due(100)[0][1][5][0] == "b"


def test_other_codes_do_not_end_a_result():
    for code in (2, 3, 5, 6, 7, 99):
        device = Device(install=ok)
        device.publish_due()
        device.plan(7, "a")
        seq = device.publish_due(1)[0][1][6]
        device.ack(seq, code, NOW, "detail")
        assert (device.agent.code, device.agent.detail) == (code, "detail")
        assert device.publish_due(500)[-1][1][6] == seq


def test_code_2_brings_the_hello_and_the_same_samples_again():
    device = Device()
    device.publish_due()
    device.agent.sample("rssi", -60, 100)
    assert device.publish_due(100) == [("hb", [4711, 100, [None, -60]])]
    device.ack(None, 2, NOW)
    assert device.publish_due(103) == [("hello", [4711, LAYOUT, NOW, 1024])]
    assert device.publish_due(160) == [("hb", [4711, 160, [None, [-60, 60]]])]


def test_a_hello_that_does_not_help_is_not_repeated_without_pause():
    device = Device()
    published = []
    for now in range(600):
        for channel, _ in device.publish_due(now):
            published.append(channel)
            if channel == "hb":
                device.ack(None, 2, NOW)
    assert published.count("hb") <= 600 // 53 + 2
    assert published.count("hello") <= published.count("hb") + 1


def test_code_3_waits_a_minute_at_least():
    device = Device(interval=10)
    device.publish_due()
    device.ack(None, 3, NOW)
    assert min([now for now in range(1, 100) if device.publish_due(now)]) == 60


def test_code_5_asks_for_the_plan():
    device = Device(install=ok)
    device.publish_due()
    device.ack(None, 5, NOW)
    assert device.publish_due(1) == [("get", [0])]


def test_what_is_measured_without_a_connection_is_sent_with_its_ages_and_the_schedule_stays():
    count = [0]

    def measure(agent):
        count[0] += 1
        agent.sample("rssi", count[0])

    device = Device(measure=measure, interval=10, keep=8)
    assert device.publish_due()[-1] == ("hb", [4711, 0, [None, 1]])
    device.p = Packer(25, 20)  # so small that the backlog takes several heartbeats
    times = []
    for now in range(1, 400):
        before = count[0]
        device.agent.update(now)
        if count[0] > before:
            times.append(now)
    gaps = [times[i + 1] - times[i] for i in range(len(times) - 1)]
    assert 9 <= min(gaps) <= max(gaps) <= 10
    agent = device.agent
    assert agent.lost == [len(times) - 8, times[-9]], "the rest waits; the first one was sent"
    assert agent.wait(399) == 0
    agent.clock(399, NOW + 399 + 300)  # the clock was set meanwhile
    got = []
    beats = device.publish_due(399)
    for channel, value in beats:
        assert (channel, value[1]) == ("hb", 699)
        cell = value[2][1]
        got += [(cell[i], value[1] - 300 - cell[i + 1]) for i in range(0, len(cell), 2)]
    assert len(beats) > 1
    assert got == [(len(times) - 6 + n, times[n - 8]) for n in range(8)], "the oldest first"
    assert agent.lost[0] == len(times) - 8
    assert 0 < agent.wait(399) == agent.at - 399
    assert 9 <= agent.at - times[-1] <= 10
    while not device.publish_due(device.now + 1):
        assert device.now < 420
    assert agent.lost[0] == len(times) - 8, "what was sent is not lost"


def test_what_drops_out_of_the_ring_once_it_was_sent_is_not_lost():
    device = Device(keep=5)
    for n in range(5):
        device.agent.sample("rssi", n, 0)
    device.publish_due()
    for n in range(5):
        device.agent.sample("rssi", n, 1)
    assert device.agent.lost == [0, 0]
    for n in range(3):
        device.agent.sample("rssi", n, 2)
    assert device.agent.lost == [3, 1]


def test_a_device_that_is_not_registered_measures_on():
    count = []
    device = Device(interval=10, measure=count.append)
    device.publish_due()
    device.ack(None, 3, NOW)
    for now in range(60):
        assert device.publish_due(now) == []
    assert len(count) in (6, 7)
    assert len(device.publish_due(60)) == 1


def test_a_result_is_sent_at_once_and_measures_nothing():
    count = []
    device = Device(install=ok, measure=count.append, interval=60)
    device.publish_due()
    device.plan(7, "a")
    due = device.agent.at
    assert device.publish_due(5)[0][1][5][0] == "a"
    assert (len(count), device.agent.at) == (1, due)
    assert device.agent.wait(5) == due - 5


def test_code_7_keeps_the_samples_for_the_next_heartbeat():
    device = Device()
    device.publish_due()
    device.agent.sample("rssi", -60, 100)
    device.publish_due(100)
    device.ack(None, 7, NOW)
    assert device.publish_due(101) == []
    assert device.publish_due(160) == [("hb", [4711, 160, [None, [-60, 60]]])]


def test_the_epoch_is_learnt_and_hello_is_published_again_under_its_tag():
    device = Device(unix=None, tag=9)
    hello, beat = device.publish_due(100)
    assert hello == ("hello", [9, LAYOUT, None, 1024])
    assert beat[1][:2] == [9, 100]
    seq = beat[1][6]
    device.now = 102
    device.agent.poll(102, device.p)
    device.ack(seq, 0, NOW + 102)
    assert device.publish_due() == [("hello", [9, LAYOUT, NOW, 1024])]
    assert device.publish_due(170) == [("hb", [9, 170])]


def test_an_ack_that_came_late_or_of_another_message_sets_no_clock():
    device = Device(unix=None)
    seq = device.publish_due()[1][1][6]
    device.ack(seq + 1, 0, NOW)
    device.ack(None, 1, NOW)
    device.agent.poll(11, device.p)
    device.ack(seq, 0, NOW)
    assert device.agent.epoch is None
    # A heartbeat later, it would still be within ten seconds of that one.
    assert device.publish_due(60)[0][1][6] != seq
    device.ack(seq, 0, NOW)
    assert device.agent.epoch is None


def test_a_fetch_asks_with_what_the_device_holds():
    device = Device(install=ok)
    device.publish_due()
    device.plan(7, "a")
    device.publish_due(1)
    device.agent.fetch = True
    assert device.publish_due(2) == [("get", [7])]


def test_a_restart_with_a_clock_goes_on_under_its_tag_without_a_hello():
    store = Memory()
    Device(store=store).publish_due()
    again = Device(unix=NOW + 500, tag=1, store=store, now=3)
    assert again.publish_due() == [("hb", [4711, 500])]


def test_a_changed_layout_takes_another_tag():
    store = Memory()
    Device(store=store).publish_due()
    changed = Device(unix=NOW + 500, tag=4711, store=store, max_payload=99)
    assert changed.publish_due()[0] == ("hello", [4710, LAYOUT, NOW, 99])


def test_a_restart_without_a_clock_draws_a_new_tag():
    store = Memory()
    Device(unix=None, tag=5, store=store).publish_due()
    assert Device(unix=None, tag=5, store=store).publish_due()[0] == ("hello", [4, LAYOUT, None, 1024])


def test_a_result_survives_a_restart_under_its_seq():
    """Or a device that sleeps before the ack comes would repeat it for ever."""
    store = Memory()
    device = Device(store=store, install=ok)
    device.publish_due()
    device.publish_due(10)
    device.plan(7, "a")
    seq = device.publish_due(20)[0][1][6]
    again = Device(unix=NOW + 30, tag=1, store=store, install=ok)
    result = ["a", "SUCCESS", None, 20, 20, [["kws", None, None, 1, 1, 1]]]
    assert again.publish_due() == [("hb", [4711, 30, None, None, 7, result, seq])]
    again.ack(seq, 0, NOW)
    assert again.agent.result is None
    assert Device(unix=NOW + 90, tag=1, store=store, install=ok).publish_due() == [("hb", [4711, 90, None, None, 7])]


def test_an_ack_of_an_earlier_boot_sets_no_clock():
    store = Memory()
    seq = Device(unix=None, tag=5, store=store).publish_due()[1][1][6]
    again = Device(unix=None, tag=6, store=store)
    again.ack(seq, 0, NOW)
    again.publish_due()
    again.ack(seq, 0, NOW)
    assert again.agent.epoch is None


def test_an_ack_that_was_asked_for_the_time_confirms_no_result():
    device = Device(unix=None, install=ok)
    seq = device.publish_due()[1][1][6]
    device.plan(7, "a")
    device.ack(seq, 0, NOW)
    assert device.publish_due(60)[-1][1][5][0] == "a"


def test_a_store_that_refuses_stops_nothing():
    store = Memory()
    store.full = True
    device = Device(store=store, install=ok)
    assert len(device.publish_due()) == 2
    device.plan(7, "a")
    assert device.publish_due(1)[0][1][5][0] == "a"
    assert isinstance(device.agent.error, OSError)


def test_a_state_of_another_kind_is_forgotten():
    for text in ("", "null", "5", "[99, 1]", "[0]", "[]", "{", '["t", 1', "[" * 500):
        assert Device(store=Memory(text)).publish_due()[0][0] == "hello"


def test_steady_heartbeats_wear_out_no_flash():
    store = Memory()
    device = Device(store=store)
    device.publish_due()
    saves = store.saves
    for now in range(60, 6000, 60):
        device.publish_due(now)
    assert store.saves == saves


def test_nothing_that_a_broker_delivers_raises_or_changes_anything():
    device = Device(install=ok)
    device.publish_due()
    before = device.agent.have, device.agent.digest, device.agent.done
    count = 0
    for vector in vectors("malformed"):
        if vector["code"] is None and vector["channel"] != "block" and payload(vector):
            count += 1
            receive(device.agent, vector["channel"], payload(vector))
            assert device.agent.bad == count, vector["name"]
    assert not device.agent.work(lambda: 0)
    assert (device.agent.have, device.agent.digest, device.agent.done) == before
    device.agent.receive("plan", b"")  # "there is none"
    assert (device.agent.bad, device.publish_due(1)) == (count, [])


def test_every_ack_of_the_vectors_is_understood():
    device = Device()
    for vector in vectors("messages"):
        if vector["channel"] == "ack":
            receive(device.agent, "ack", payload(vector))
            assert (device.agent.bad, device.agent.code) == (0, vector["value"][1])


def test_a_broken_sensor_stops_no_heartbeat():
    def measure(agent):
        agent.sample("rssi", -60)
        raise OSError(5)

    device = Device(measure=measure)
    assert device.publish_due()[1] == ("hb", [4711, 0, [None, -60]])
    assert device.agent.error.args[0] == 5


def small(reason=None):
    """A device with a buffer of 150 bytes, that reports 20 models; `reason`: why the first one failed."""

    def install(definition):
        if reason:
            raise ValueError(reason)

    device = Device(install=install, measure=lambda agent: agent.sample("rssi", -61))
    device.p = Packer(150, 20)
    receive(device.agent, "plan", packed([7, [["d", 0, [["model-" + str(n), 1] for n in range(20)]]]]))
    device.work()
    return device


def test_a_result_that_exceeds_the_buffer_is_reported_without_its_models_and_with_the_samples():
    beat = small().publish_due()[1][1]
    assert beat[5] == ["d", "SUCCESS", None, 0, 0]
    assert beat[2] == [None, -61]


def test_more_samples_than_fit_beside_a_result_make_no_flood():
    def measure(agent):
        for n in range(8):
            agent.sample("rssi", -(1 << 40) - n)

    device = Device(install=ok, measure=measure)
    device.publish_due()
    device.publish_due(10)
    device.p = Packer(125, 20)
    device.plan(7, "a" * 40)
    for minute in range(1, 4):
        assert 1 < len(device.publish_due(60 * minute)) < 9
    assert device.agent.count == device.agent.taken, "all of them left"


def test_a_message_that_exceeds_the_buffer_is_left_out_and_the_result_reported():
    reason = "\u0436" * 120  # of two bytes each
    device = small(reason)
    beat = device.publish_due()[1][1]
    assert beat[5] == ["d", "FAIL"]
    assert beat[2] == [None, -61]
    device.ack(beat[6], 0, NOW)
    assert device.agent.result is None


def test_a_result_that_cannot_be_reported_asks_for_no_ack_and_stops_no_heartbeat():
    device = small()
    device.agent.result[0] = "d" * 200
    beat = device.publish_due()[1][1]
    assert beat[2] == [None, -61]
    assert len(beat) == 5
    assert device.agent.poll(1, device.p) is None, "the next one comes at its time"


def test_a_sample_that_fits_nowhere_does_not_hurry_the_heartbeat():
    device = Device()
    device.publish_due()
    device.p = Packer(16, 20)
    device.agent.sample("rssi", 1 << 40)
    assert device.agent.poll(60, device.p) == "hb"
    assert device.agent.poll(60, device.p) is None


def test_a_clock_set_back_begins_another_epoch():
    device = Device(install=ok)
    device.publish_due()
    device.plan(7, "a")
    device.agent.clock(60, NOW - 100)
    hello, beat = device.publish_due(60)
    assert hello == ("hello", [4712, LAYOUT, NOW - 100, 1024])
    result = ["a", "SUCCESS", None, None, None, [["kws", None, None, 1, 1, 1]]]
    assert beat[1][:6] == [4712, 0, None, None, 7, result], "its times were of the other epoch"
    assert device.publish_due(120)[0][1][:2] == [4712, 60]


def test_a_deep_sleep_keeps_tag_and_time_without_a_clock():
    store = Memory()
    device = Device(unix=None, tag=9, store=store)
    seq = device.publish_due(100)[1][1][6]
    device.ack(seq, 0, NOW + 100)
    device.publish_due(101)
    device.agent.save(600)
    store.text = store.text.encode()  # what a board's RTC gives back
    again = Device(unix=None, tag=1, store=store, woke=True, now=2)
    assert again.publish_due() == [("hb", [9, 701])]
    # A power cut while it slept: its time is lost, so it is another boot.
    assert Device(unix=None, tag=1, store=store).publish_due()[0] == ("hello", [1, LAYOUT, None, 1024])


def test_hostile_payloads_neither_raise_nor_grow_memory():
    device = Device(install=ok)
    device.publish_due()
    good = [payload(vector) for vector in vectors("messages") if vector["channel"] in ("plan", "ack", "block")]
    state = 1
    used = []
    for n in range(3000):
        data = bytearray(good[n % len(good)])
        for _ in range(n % 4):
            state = state * 16807 % 2147483647
            if data:
                data[state % len(data)] = state >> 8 & 255
        device.agent.receive(("plan", "ack", "block", "hello", None)[n % 5], bytes(data))
        device.now = n
        device.work()
        device.publish_due(n)
        if n % 1000 == 999 and hasattr(gc, "mem_alloc"):
            device.agent.result = None
            gc.collect()
            used.append(gc.mem_alloc())
    assert device.agent.bad > 500
    assert not used or used[-1] - used[0] < 2000, used


def test_a_plan_of_words_that_no_store_or_buffer_takes_raises_nothing():
    for name in (b"bytes", "x" * 900, [[]], -5, None):
        device = Device(install=ok, store=Memory())
        device.publish_due()
        receive(device.agent, "plan", b"\x92\x05\x91\x93" + packed_bytes(name) + b"\x00\x90")
        device.work()
        for now in range(0, 300, 60):
            device.publish_due(now)


def packed_bytes(value):
    return b"\xc4" + bytes((len(value),)) + value if type(value) is bytes else packed(value)
