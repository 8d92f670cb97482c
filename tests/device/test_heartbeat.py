"""Heartbeats as they are written: the page's worked example, ages, bounds, and what a refusal brings back."""

from device_sdk.heartbeat import Heartbeat, Packer
from tests.device.support import LAYOUT, payload, raises, read, vectors, written

NAMES = "free-heap", "rssi", "temperature", "keyword-spotting/latency-ms", "keyword-spotting/confidence"


def write(heartbeat, now, have=None, result=None, seq=None, size=512):
    p = Packer(size, 0)
    heartbeat.hb[0] = 4711
    heartbeat.hb[1] = now
    heartbeat.hb[4:] = have, result, seq
    heartbeat.pack(p, now)
    return written(p)


def pack(heartbeat, now, *more):
    return read(write(heartbeat, now, *more))


def arrived(heartbeat):
    heartbeat.pop(heartbeat.taken)


def test_the_worked_example_byte_for_byte():
    heartbeat = Heartbeat(LAYOUT, 32)
    heartbeat.now = 87
    heartbeat.inference(0, 85)
    heartbeat.now = 89
    for name, value in zip(NAMES, (81344, -61, 365, 12, 50)):
        heartbeat.sample(name, value)
    data = write(heartbeat, 89, 735928559)
    assert [data] == [payload(vector) for vector in vectors("messages") if vector["name"] == "hb-worked-example"]
    assert len(data) == 28


def test_absent_values_cost_no_byte():
    heartbeat = Heartbeat(LAYOUT, 4)
    assert pack(heartbeat, 7) == [4711, 7]
    assert pack(heartbeat, 7, 0) == [4711, 7, None, None, 0]
    assert pack(heartbeat, 7, None, None, 5) == [4711, 7, None, None, None, None, 5]
    heartbeat.sample("rssi", -3, 7)
    assert pack(heartbeat, 7) == [4711, 7, [None, -3]]


def test_a_device_without_metrics_or_models():
    assert pack(Heartbeat(["1.0.0", [], []], 1), 7, 3) == [4711, 7, None, None, 3]
    heartbeat = Heartbeat(["1.0.0", [], [["model", "1", []]]], 1)
    heartbeat.inference()
    assert pack(heartbeat, 7) == [4711, 7, None, [[7, 7]]]


def test_several_samples_have_their_ages():
    heartbeat = Heartbeat(LAYOUT, 8)
    heartbeat.sample("rssi", -60, 10)
    heartbeat.sample("free-heap", 5, 20)
    heartbeat.sample("rssi", -61, 40)
    heartbeat.sample("temperature", 1, 40)
    heartbeat.sample("temperature", 2, 40)
    assert pack(heartbeat, 40) == [4711, 40, [[5, 20], [-60, 30, -61, 0], [1, 0, 2, 0]]]


def test_more_metrics_than_a_short_array_holds():
    layout = ["1.0.0", [["sys", "metric-" + str(n)] for n in range(300)], []]
    heartbeat = Heartbeat(layout, 2)
    for n in (3, 299):
        heartbeat.sample("metric-" + str(n), n, 0)
        assert pack(heartbeat, 0)[2] == [None] * n + [n]
        arrived(heartbeat)


def test_model_times_are_sent_once_and_again_after_a_refusal():
    heartbeat = Heartbeat(LAYOUT, 8)
    heartbeat.now = 38
    heartbeat.inference(0, 36)
    assert pack(heartbeat, 40) == [4711, 40, None, [[4, 2]]]
    heartbeat.since = 40
    assert pack(heartbeat, 50) == [4711, 50]
    heartbeat.since = 0
    assert pack(heartbeat, 60) == [4711, 60, None, [[24, 22]]]


def test_an_arrived_heartbeat_is_forgotten_and_a_refused_one_comes_again():
    heartbeat = Heartbeat(LAYOUT, 8)
    heartbeat.sample("keyword-spotting/latency-ms", 12, 40)
    assert pack(heartbeat, 40) == [4711, 40, None, [[None, None, [12]]]]
    heartbeat.taken = 0
    assert pack(heartbeat, 41) == [4711, 41, None, [[None, None, [[12, 1]]]]]
    heartbeat.sample("rssi", -1, 41)  # since the heartbeat left: not forgotten with it
    arrived(heartbeat)
    assert pack(heartbeat, 41) == [4711, 41, [None, -1]]


def test_the_oldest_sample_makes_room():
    heartbeat = Heartbeat(["1.0.0", [["sys", "rssi"]], []], 3)
    for n in range(5):
        heartbeat.sample("rssi", n, n)
    assert pack(heartbeat, 4) == [4711, 4, [[2, 2, 3, 1, 4, 0]]]
    heartbeat.sample("rssi", 9, 5)  # drops one that is on its way
    arrived(heartbeat)
    assert pack(heartbeat, 5) == [4711, 5, [9]]


def test_one_sample_of_each_metric_waits_however_few_may():
    for keep in (-1, 0, 1, 4):
        heartbeat = Heartbeat(LAYOUT, keep)
        heartbeat.pop(0)
        for name in NAMES:
            heartbeat.sample(name, 1, 7)
        assert pack(heartbeat, 7) == [4711, 7, [1, 1, 1], [[None, None, [1, 1]]]]
    Heartbeat(["1.0.0", [], []], 0).pop(0)


ROOMS = [
    "1.0.0",
    [["attic", "t"], ["bath", "t"], ["cellar", "t"], ["cellar", "rh"]],
    [["kws", "1.0", [["sys", "us"], ["gpu", "us"]]], ["kws", "2.0", [["sys", "us"]]], ["cellar", "3", [["sys", "rh"]]]],
]


def test_metrics_of_one_name_are_told_apart_by_their_dimension_and_models_by_their_version():
    heartbeat = Heartbeat(ROOMS, 8)
    for _ in range(2):
        for n, room in enumerate(("attic", "bath", "cellar")):
            heartbeat.sample(room + "/t", 18 + n, 0)
        heartbeat.sample("rh", 55, 0)
        for n, path in enumerate(("1.0/sys", "1.0/gpu", "2.0/sys")):
            heartbeat.sample("kws/" + path + "/us", n, 0)
        heartbeat.sample("cellar/3/sys/rh", 7, 0)
        models = [[None, None, [0, 1]], [None, None, [2]], [None, None, [7]]]
        assert pack(heartbeat, 0) == [4711, 0, [18, 19, 20, 55], models]
        arrived(heartbeat)


def test_a_name_that_several_metrics_have_is_the_callers_error_with_the_choices():
    heartbeat = Heartbeat(ROOMS, 8)
    for _ in range(2):
        error = raises(ValueError, heartbeat.sample, "t", 20, 0)
        assert str(error) == "t is attic/t or bath/t or cellar/t"
        error = raises(ValueError, heartbeat.sample, "kws/us", 20, 0)
        assert str(error) == "kws/us is kws/1.0/sys/us or kws/1.0/gpu/us or kws/2.0/sys/us"
        error = raises(ValueError, heartbeat.sample, "cellar/rh", 20, 0)
        assert str(error) == "cellar/rh is cellar/rh or cellar/3/sys/rh"
    assert heartbeat.count == 0


def test_what_exceeds_the_buffer_follows_in_the_next_heartbeat():
    heartbeat = Heartbeat(LAYOUT, 32)
    for n in range(20):
        heartbeat.sample("free-heap", 100000 + n, n)
    numbers = []
    while heartbeat.count:
        numbers += read(write(heartbeat, 20, size=60))[2][0][0::2]
        arrived(heartbeat)
    assert numbers == [100000 + n for n in range(20)]
    raises(ValueError, write, heartbeat, 20, None, None, None, 3)


def test_samples_that_are_no_numbers_are_the_callers_error():
    heartbeat = Heartbeat(LAYOUT, 4)
    for value in (True, None, "5", float("nan"), float("inf"), 1 << 64, -(1 << 63) - 1, [1]):
        raises(ValueError, heartbeat.sample, "rssi", value, 0)
    for metric in ("nothing", "latency-ms", "keyword-spotting/rssi", 5, -1):
        raises(KeyError, heartbeat.sample, metric, 1, 0)
    for value in ((1 << 64) - 1, -(1 << 63)):
        heartbeat.sample("rssi", value, 0)
        assert pack(heartbeat, 0) == [4711, 0, [None, value]]
        arrived(heartbeat)
    heartbeat.sample("rssi", 0.5, 0)
    assert write(heartbeat, 0).endswith(b"\xcb\x3f\xe0\0\0\0\0\0\0")


class Small(Packer):
    """For which the memory is full at an array of more than 8 elements."""

    def any(self, value):
        if type(value) is list and len(value) > 8:
            raise MemoryError
        return Packer.any(self, value)


def test_what_there_is_no_memory_for_goes_with_later_heartbeats():
    beat = Heartbeat(["1", [["sys", "number"]], []], 32)
    for now in range(32):
        beat.sample("number", now, now)
    beat.hb[0] = 1
    beat.hb[1] = 40
    p = Small(512, 0)
    arrived = []
    while beat.count:
        beat.pack(p, 40)
        cell = read(written(p))[2][0]
        arrived += [(cell[i], 40 - cell[i + 1]) for i in range(0, len(cell), 2)]
        beat.pop(beat.taken)
    assert arrived == [(i, i) for i in range(32)]
