"""The rules of the C client: what it sends and when, what an ack changes, plans, downloads, and what outlives power."""

import hashlib
from itertools import pairwise

import msgpack
import pytest

NOW = 1795458600
LAYOUT = [
    "1.0.0",
    [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]],
    [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]],
]
PLAN = [7, [["deploy-7", 0, [["kws", 1, b"\1" * 20]]]]]
READ, ACK, BLOCK = "read", "ack", "block"
IGNORED, TO_WRITE, WHOLE = 0, 1, 2


def beat(device, now):
    """The value of the heartbeat that is due, confirmed by the broker."""
    channel, value = device.message(now)
    assert channel == "hb"
    return value + [None] * (7 - len(value))


@pytest.fixture
def ready(device):
    """With a clock, its hello published, and its first heartbeat accepted."""
    assert device.start(unix=NOW)
    assert [channel for channel, _ in device.messages(0)] == ["hello", "hb"]
    return device


# ---- hello, tag and time ----


def test_a_new_device_publishes_its_hello_before_its_first_heartbeat(device):
    device.start(now=100, unix=NOW)
    assert device.poll(100) == ("hello", [4711, LAYOUT, NOW, 512, 1])
    assert device.poll(100) is None, "it waits for the PUBACK"
    device.ask("sent")
    assert device.message(103) == ("hb", [4711, 3, None, None, 0])


def test_the_hello_is_made_again_until_the_broker_has_it(device):
    device.start(unix=NOW)
    first = device.poll(0)
    device.ask("lost")
    assert device.poll(9) == first
    device.ask("sent")
    assert device.state["changed"]
    device.ask("start", 0, NOW + 50, 1, 0, 60, 256, 8, 1)
    assert device.message(0) == ("hb", [4711, 50, None, None, 0]), "the broker keeps it over a restart"


def test_another_layout_or_limit_takes_another_tag(device):
    device.start(unix=NOW)
    device.messages(0)
    device.ask("start", 0, NOW + 50, 4711, 0, 60, 256, 8, 1)
    assert device.message(0)[0] == "hb"
    device.ask("version", "1.0.1")
    device.ask("start", 0, NOW + 50, 4711, 0, 60, 256, 8, 1)
    channel, value = device.message(0)
    assert (channel, value[0], value[2]) == ("hello", 4710, NOW), (
        "not the old one, though the random number is the same"
    )


def test_without_a_clock_each_boot_has_a_random_tag_and_counts_from_itself(device):
    device.start(random=1)
    assert device.messages(0)[0] == ("hello", [1, LAYOUT, None, 512, 1])
    device.start(now=5, random=2)
    assert device.messages(8) == [
        ("hello", [2, LAYOUT, None, 512, 1]),
        ("hb", [2, 3, None, None, 0, None, 2 * 65536 + 1]),
    ]


def test_an_ack_tells_a_device_without_a_clock_its_epoch_and_the_tag_stays(device):
    device.start(random=3)
    seq = device.messages(20)[1][1][6]
    assert device.receive("ack", 21, [seq, 0, NOW + 21]) == 1
    assert device.message(21) == ("hello", [3, LAYOUT, NOW, 512, 1])
    assert beat(device, 80)[6] is None, "no ack is needed any more"


@pytest.mark.parametrize(("seq", "late"), [(1, 11), (2, 1), (None, 1)])
def test_a_late_ack_or_one_of_another_message_sets_no_clock(device, seq, late):
    device.start(random=0)
    device.messages(20)
    device.receive("ack", 20 + late, [seq, 0, NOW])
    assert device.state["epoch"] == 0


def test_the_ack_of_a_result_sets_no_clock_not_even_a_second_time(device):
    device.start(random=3)
    device.messages(0)
    device.ask("report", 20, "deploy-7", "-")
    seq = beat(device, 20)[6]
    for now in (21, 29):
        device.receive("ack", now, [seq, 0, NOW])
    assert (device.state["result"], device.state["epoch"]) == (0, 0)


def test_a_clock_that_is_set_later_fills_in_the_epoch(device):
    device.start(random=3)
    device.messages(0)
    device.ask("clock", 30, NOW + 30)
    assert device.message(30) == ("hello", [3, LAYOUT, NOW, 512, 1])


def test_a_clock_that_is_set_while_the_hello_is_under_way_sends_it_anew(device):
    device.start(random=3)
    device.poll(0)
    device.ask("clock", 1, NOW + 1)
    device.ask("sent")
    assert device.message(1) == ("hello", [3, LAYOUT, NOW, 512, 1])


def test_dates_follow_the_clock(ready):
    ready.ask("clock", 60, NOW + 360)
    assert beat(ready, 60)[1] == 360


def test_a_clock_that_is_set_back_before_the_epoch_begins_another_under_another_tag(ready):
    ready.ask("clock", 60, NOW - 1000)
    assert ready.message(60) == ("hello", [4712, LAYOUT, NOW - 1000, 512, 1])
    assert beat(ready, 61)[1] == 1


def test_the_time_goes_on_over_a_sleep_without_a_clock(device):
    device.start(random=5)
    device.messages(10)
    device.ask("sleep", 20, 600)
    device.start(now=0, random=6, woke=True)
    channel, value = device.message(1)
    assert (channel, value[:2]) == ("hb", [5, 621]), "no hello"


def test_a_sleep_counts_once(device):
    device.start(random=5)
    device.messages(10)
    device.ask("sleep", 20, 600)
    for expected in ("hb", "hello"):
        device.start(now=0, random=6, woke=True)
        assert device.message(1)[0] == expected


def test_after_any_other_reset_it_begins_anew(device):
    device.start(random=5)
    device.messages(10)
    device.ask("sleep", 20, 600)
    device.start(now=0, random=6, woke=False)
    assert device.message(1)[0] == "hello"


# ---- heartbeats ----


def test_the_worked_example(ready):
    for metric, value in enumerate([81344, -61, 365, 12, 50]):
        assert ready.sample(metric, 89, value)
    ready.ask("ran", 85, 87)
    channel, value = ready.message(89)
    assert (channel, value) == ("hb", [4711, 89, [81344, -61, 365], [[4, 2, [12, 50]]], 0])
    assert beat(ready, 150)[2:4] == [None, None], "each sample and each run is sent once"


def test_samples_are_sent_with_their_ages_in_their_order(ready):
    for time, value in ((10, 1), (20, 2), (30, 3)):
        ready.sample(0, time, value)
        ready.sample(1, 58, -value)
    ready.sample(4, 60, 7)
    assert beat(ready, 60)[2:4] == [[[1, 50, 2, 40, 3, 30], [-1, 2, -2, 2, -3, 2]], [[None, None, [None, 7]]]]


@pytest.mark.parametrize("kind", ["float", "double"])
def test_floats(ready, kind):
    assert ready.sample(0, 60, 0.5, kind)
    assert not ready.sample(0, 60, float("nan"), kind)
    assert not ready.sample(0, 60, float("inf"), kind)
    assert not ready.sample(0, 60, float("-inf"), kind)
    assert beat(ready, 60)[2] == [0.5]


def test_in_a_full_memory_the_order_stays(ready):
    for time in range(20):
        ready.sample(0, time, time)
    assert beat(ready, 60)[2][0][::2] == list(range(12, 20))


def test_a_metric_that_the_layout_has_not_is_refused(ready):
    assert ready.sample(4, 60, 1)
    assert not ready.sample(5, 60, 1)


def test_a_full_memory_drops_the_oldest_sample(ready):
    for time in range(10):
        ready.sample(time % 3, 20 + time, time)
    values = beat(ready, 60)[2]
    assert sorted(number for row in values for number in row[::2]) == list(range(2, 10))


@pytest.mark.parametrize("code", [2, 3, 7])
def test_what_was_refused_is_in_the_next_heartbeat(ready, code):
    ready.sample(0, 60, 81344)
    ready.ask("ran", 59, 60)
    beat(ready, 60)
    ready.receive("ack", 61, [None, code, NOW])
    ready.sample(0, 100, 81000)
    channels = dict(ready.messages(130))
    assert channels["hb"][2:4] == [[[81344, 70, 81000, 30]], [[71, 70]]]
    assert ("hello" in channels) == (code == 2)


@pytest.mark.parametrize("code", [0, 1, 4, 5, 6, 99, 2**40])
def test_after_other_codes_it_is_not(ready, code):
    ready.sample(0, 60, 81344)
    beat(ready, 60)
    ready.receive("ack", 61, [None, code, NOW])
    assert dict(ready.messages(125))["hb"][2] is None


def test_a_heartbeat_whose_connection_broke_is_made_again(ready):
    ready.sample(0, 60, 81344)
    assert ready.poll(60)[0] == "hb"
    ready.ask("lost")
    assert beat(ready, 70)[2] == [[81344, 10]]
    assert beat(ready, 130)[2] is None


def test_a_sample_while_the_puback_is_awaited_is_in_the_next_one(ready):
    ready.sample(1, 60, 1)
    ready.poll(60)
    ready.sample(0, 61, 2)
    ready.ask("sent")
    assert beat(ready, 125)[2] == [[2, 64]]


def test_what_does_not_fit_follows_at_once(device):
    assert device.start(unix=NOW, tx_size=192, samples=60)
    device.messages(0)
    for n in range(60):
        device.sample(n % 3, 30, 2**40 + n)
    sizes = [sum(len(row) // 2 for row in value[2] if row) for _, value in device.messages(60)]
    assert len(sizes) > 3
    assert sum(sizes) == 60


def test_heartbeats_are_up_to_an_eighth_early_and_never_late(ready):
    now, gaps = 0, []
    for _ in range(200):
        wait = int(ready.ask("wait", now))
        gaps.append(wait)
        now += wait
        assert ready.message(now)[0] == "hb"
    assert min(gaps) >= 53
    assert max(gaps[1:]) <= 60
    assert len(set(gaps)) > 4


def test_an_unregistered_device_waits_a_minute(device):
    device.start(unix=NOW, interval=5)
    device.messages(0)
    device.receive("ack", 1, [None, 3, NOW])
    assert device.ask("wait", 1) == "60"


@pytest.mark.parametrize(
    "wrong", [{"interval": 0}, {"samples": 0}, {"tx_size": 127}, {"tx_size": 139}], ids=lambda wrong: str(wrong)
)
def test_a_wrong_setting_is_refused_at_the_start(device, wrong):
    assert not device.start(**wrong)


def test_a_hello_that_does_not_fit_is_refused_at_the_start(device):
    device.ask("version", "1" * 64)
    smallest = next(size for size in range(140, 400) if device.start(unix=NOW, tx_size=size))
    channel, value = device.poll(0)
    assert (channel, value[1][0]) == ("hello", "1" * 64)
    assert 0 <= smallest - len(msgpack.packb(value)) < 6


def test_heartbeats_only(device):
    device.start(unix=NOW, plans=False)
    assert dict(device.messages(0))["hb"] == [4711, 0]
    assert device.receive("plan", 1, PLAN) == 0


# ---- plans and results ----


def test_a_result_is_repeated_with_its_seq_until_it_is_accepted(ready):
    assert ready.receive("plan", 10, PLAN) == 1
    assert ready.ask("report", 10, "deploy-7", "-") == "1"
    first = beat(ready, 10)
    assert first[4:6] == [7, ["deploy-7", "SUCCESS", None, 9, 2, [["kws", None, None, 1, 1, 1]]]]
    second = beat(ready, 70)
    assert second[6] == first[6]
    assert second[5][3:5] == [69, 62]
    ready.receive("ack", 71, [first[6] + 1, 0, NOW])
    assert ready.state["result"], "another seq says nothing of it"
    ready.receive("ack", 71, [first[6], 0, NOW])
    assert not ready.state["result"]
    assert beat(ready, 130)[5:] == [None, None]


@pytest.mark.parametrize(("code", "stays"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 0), (5, 1), (6, 1), (7, 1), (99, 1)])
def test_which_codes_end_a_result(ready, code, stays):
    ready.ask("report", 10, "deploy-7", "kws:_flash_is_full")
    seq = beat(ready, 10)[6]
    ready.receive("ack", 11, [seq, code, NOW])
    assert ready.state["result"] == stays


def test_one_result_waits_at_a_time(ready):
    assert ready.ask("report", 10, "deploy-7", "-") == "1"
    assert ready.ask("report", 10, "deploy-8", "-") == "0"


def test_the_next_result_has_another_seq(ready):
    ready.ask("report", 10, "deploy-7", "-")
    first = beat(ready, 10)[6]
    ready.receive("ack", 11, [first, 0, NOW])
    ready.ask("report", 12, "deploy-8", "-")
    second = beat(ready, 12)[6]
    assert second != first
    ready.receive("ack", 13, [first, 0, NOW])
    assert ready.state["result"], "a late ack of the first one"


def test_a_result_that_leaves_no_room_is_refused(ready):
    assert ready.ask("report", 10, "deploy-7", "m" * 160) == "0"
    assert ready.ask("report", 10, "deploy-7", "m" * 100) == "1"
    for n in range(8):
        ready.sample(0, 5, 2**40 + n)
    assert beat(ready, 10)[5][2] == "m" * 100


def test_a_plan_is_new_once(ready):
    assert ready.receive("plan", 1, PLAN) == 1
    assert ready.receive("plan", 2, PLAN) == 0
    assert ready.receive("plan", 3, b"") == 0
    assert ready.receive("plan", 4, [8, []]) == 1
    assert beat(ready, 60)[4] == 8


def test_a_plan_comes_again_after_power_failed_before_it_was_done(ready):
    ready.receive("plan", 1, PLAN)
    ready.start(unix=NOW + 5)
    assert beat(ready, 0)[4] == 0
    assert ready.receive("plan", 1, PLAN) == 1
    ready.ask("done")
    assert ready.state["changed"]
    ready.start(unix=NOW + 15)
    assert beat(ready, 0)[4] == 7
    assert ready.receive("plan", 1, PLAN) == 0


def test_a_plan_taken_back_half_way_is_carried_out_again(ready):
    ready.receive("plan", 1, PLAN)
    ready.ask("done")
    ready.receive("plan", 2, [8, []])
    ready.start(unix=NOW + 5)
    assert ready.receive("plan", 1, PLAN) == 1


def test_no_such_plan_asks_with_get(ready):
    ready.receive("plan", 1, PLAN)
    ready.receive("ack", 2, [None, 5, NOW])
    assert ready.message(2) == ("get", [7])
    assert ready.message(2) is None


# ---- downloads ----

DATA = bytes(range(256)) * 20
BLOCK_SIZE = 480


@pytest.fixture
def loading(ready):
    """It downloads the first definition of plan 7."""
    ready.receive("plan", 1, PLAN)
    ready.ask("file", 0, 0)
    return ready


def blocks(read, data=DATA):
    digest, index, offset, length, count = read
    for at in range(offset, min(offset + length * count, len(data)), length):
        yield [digest, index, at, len(data), data[at : at + length]]


def download(device, now, data=DATA, stored=b"", drop=()):
    """What is stored at its end, and the requests. drop: which requests get no answer."""
    requests = []
    while True:
        message = device.message(now)
        now += 1
        if message is None or message[0] != READ:
            assert now < 2000, "no request comes any more"
            continue
        requests.append(message[1])
        if len(requests) in drop:
            continue
        for block in blocks(message[1], data):
            taken = device.receive(BLOCK, now, block)
            assert taken in (TO_WRITE, WHOLE)
            assert block[2] == len(stored)
            stored += block[4]
            if taken == WHOLE:
                return stored, requests


def test_a_file_is_downloaded_in_larger_and_larger_requests(loading):
    stored, requests = download(loading, 2)
    assert stored == DATA
    assert [request[4] for request in requests] == [1, 2, 4, 8]
    assert not loading.state["active"]


def test_a_download_goes_on_where_it_was(loading):
    loading.ask("file", 0, 1000)
    stored, requests = download(loading, 2, stored=DATA[:1000])
    assert stored == DATA
    assert requests[0][2] == 1000


def test_a_request_without_an_answer_is_repeated_and_shorter(loading):
    stored, requests = download(loading, 2, drop=(3, 4))
    assert stored == DATA
    assert [request[4] for request in requests[:6]] == [1, 2, 4, 1, 1, 2]


def test_a_slow_link_gets_one_block_a_request_and_no_repeats(loading):
    now, stored, received = 2, b"", 0
    while len(stored) < len(DATA):
        message = loading.message(now)
        now += 1
        if message is None:
            continue
        if message[0] == READ:
            for block in blocks(message[1]):
                for _ in range(6):  # seconds that a block takes: 80 bytes a second
                    now += 1
                    other = loading.message(now)
                    assert other is None or other[0] == "hb"
                received += len(block[4])
                if loading.receive(BLOCK, now, block):
                    stored += block[4]
    assert stored == DATA
    assert received == len(DATA)


def test_repeated_foreign_and_skipping_blocks_are_ignored(loading):
    read = loading.message(2)[1]
    (block,) = blocks(read)
    for wrong in ([8, *block[1:]], [7, 1, *block[2:]], [7, 0, 480, *block[3:]]):
        assert loading.receive(BLOCK, 3, wrong) == IGNORED
    assert loading.receive(BLOCK, 3, block) == TO_WRITE
    assert loading.receive(BLOCK, 3, block) == IGNORED


@pytest.mark.parametrize(
    ("total", "data"), [(10, b"x" * 11), (100, b""), (0, b"x"), (2**32 - 1, b"")], ids=["long", "empty", "none", "most"]
)
def test_a_block_that_contradicts_itself_is_ignored(loading, total, data):
    loading.message(2)
    assert loading.receive(BLOCK, 3, [7, 0, 0, total, data]) == IGNORED


def test_an_empty_file(loading):
    loading.message(2)
    assert loading.receive(BLOCK, 3, [7, 0, 0, 0, b""]) == WHOLE


def test_a_file_that_was_stored_to_its_end(loading):
    loading.ask("file", 0, len(DATA))
    loading.message(2)
    assert loading.receive(BLOCK, 3, [7, 0, len(DATA), len(DATA), b""]) == WHOLE


def test_more_is_stored_than_the_file_has(loading):
    loading.ask("file", 0, 9000)
    loading.message(2)
    assert loading.receive(BLOCK, 3, [7, 0, 9000, len(DATA), b""]) == WHOLE
    assert loading.ask("wrong") == "1"


@pytest.mark.parametrize("late", [0, 3000])
def test_a_request_is_repeated_after_two_minutes_at_most(loading, late):
    (block,) = blocks(loading.message(2)[1])
    loading.receive(BLOCK, 2 + late, block)
    loading.receive("ack", 2 + late, [None, 3, NOW])  # no heartbeat for a minute
    asked = [now for now in range(3 + late, 2000 + late) if (found := loading.message(now)) and found[0] == READ]
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert len(gaps) > 10
    assert max(gaps) <= 129


def test_a_wrong_checksum_after_a_resumed_download_begins_again_once(loading):
    loading.ask("file", 0, 1000)
    download(loading, 2, stored=bytes(1000))
    assert loading.ask("wrong") == "1"
    stored, requests = download(loading, 100)
    assert (stored, requests[0][2]) == (DATA, 0)
    assert loading.ask("wrong") == "0"


def test_a_file_that_the_gateway_refuses_three_times_fails(loading):
    for now in (2, 20, 40):
        assert loading.state["active"]
        loading.messages(now)
        loading.receive("ack", now, [None, 5, NOW, "the object is gone"])
    assert not loading.state["active"]


def test_a_new_plan_ends_the_download_of_the_old_one(loading):
    loading.receive("plan", 2, [8, []])
    assert not loading.state["active"]


def test_heartbeats_keep_their_schedule_during_a_download(loading):
    beats = []
    for now in range(2, 400):
        message = loading.message(now)
        if message and message[0] == "hb":
            beats.append(now)
        elif message and now % 3 == 0:
            for block in blocks(message[1], bytes(10**6)):
                loading.receive(BLOCK, now, block)
    gaps = [later - earlier for earlier, later in pairwise(beats)]
    assert max(gaps) <= 61


def test_a_read_that_was_lost_is_made_again(loading):
    first = loading.poll(2)
    loading.ask("lost")
    assert loading.poll(3) == first


# ---- the rest ----


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 1000])
def test_sha_1(device, size):
    data = bytes(range(256)) * 4
    assert device.ask("sha1", data[:size].hex()) == hashlib.sha1(data[:size], usedforsecurity=False).hexdigest()


def test_hostile_payloads_change_nothing(loading):
    before = loading.state
    for payload in (b"", b"\xc1", b"\x91" * 20000, b"\xdd\xff\xff\xff\xff", b"\x93\xc0\xc3\0", b"\xdf\xff\xff\xff\xff"):
        for channel in ("ack", "plan", "block"):
            assert loading.receive(channel, 3, payload) == 0
    assert loading.state == {**before, "changed": 0}
