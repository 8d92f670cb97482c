"""Heartbeats as they are written: the page's worked example, ages, bounds, and what a refusal brings back."""

from device_sdk.heartbeat import Heartbeat
from device_sdk.pack import Packer
from device_sdk.unpack import unpack
from tests.device.support import LAYOUT, payload, raises, vectors, written


def pack(heartbeat, now, size=512, **more):
    p = Packer(size)
    heartbeat.pack(p, 4711, now, now, **more)
    return unpack(written(p))


def test_the_worked_example_byte_for_byte():
    heartbeat = Heartbeat(LAYOUT, 32)
    for metric, value in (("free-heap", 81344), ("rssi", -61), ("temperature", 365)):
        heartbeat.sample(metric, value, 89)
    heartbeat.inference("keyword-spotting", 87)
    heartbeat.sample("keyword-spotting/latency-ms", 12, 85)
    heartbeat.sample("keyword-spotting/confidence", 50, 85)
    p = Packer(64)
    assert heartbeat.pack(p, 4711, 89, 89, have=735928559)
    assert unpack(written(p))[3] == [[4, 2, [[12, 4], [50, 4]]]]
    heartbeat = Heartbeat(LAYOUT, 32)
    for slot, value in enumerate((81344, -61, 365, 12, 50)):
        heartbeat.sample(slot, value, 89)
    heartbeat._sampled[0] = 85  # the example's model was fed 4 s ago, its metrics are read now
    heartbeat.inference(0, 87)
    assert heartbeat.pack(p, 4711, 89, 89, have=735928559)
    expected = [payload(vector) for vector in vectors("messages") if vector["name"] == "hb-worked-example"]
    assert [written(p)] == expected
    assert len(written(p)) == 28


def test_what_there_is_not_costs_no_byte():
    heartbeat = Heartbeat(LAYOUT, 4)
    assert pack(heartbeat, 7) == [4711, 7]
    assert pack(heartbeat, 7, have=0) == [4711, 7, None, None, 0]
    assert pack(heartbeat, 7, seq=5) == [4711, 7, None, None, None, None, 5]
    heartbeat.sample("rssi", -3, 7)
    assert pack(heartbeat, 7) == [4711, 7, [None, -3]]


def test_several_samples_have_their_ages():
    heartbeat = Heartbeat(LAYOUT, 8)
    heartbeat.sample("rssi", -60, 10)
    heartbeat.sample("free-heap", 5, 20)
    heartbeat.sample("rssi", -61, 30)
    assert pack(heartbeat, 40) == [4711, 40, [[5, 20], [-60, 30, -61, 10]]]


def test_a_model_with_times_alone():
    heartbeat = Heartbeat(LAYOUT, 8)
    heartbeat.inference(0, 38)
    assert pack(heartbeat, 40) == [4711, 40, None, [[None, 2]]]


def test_a_settled_heartbeat_is_forgotten_and_a_refused_one_comes_again():
    heartbeat = Heartbeat(LAYOUT, 8)
    heartbeat.sample("keyword-spotting/latency-ms", 12, 40)
    first = pack(heartbeat, 40)
    heartbeat.release()
    assert pack(heartbeat, 41) == [4711, 41, None, [[1, None, [[12, 1]]]]]
    assert first == [4711, 40, None, [[0, None, [12]]]]
    heartbeat.sample("rssi", -1, 41)  # since the heartbeat left: not settled with it
    heartbeat.settle()
    assert pack(heartbeat, 41) == [4711, 41, [None, -1]]


def test_the_oldest_sample_makes_room():
    heartbeat = Heartbeat(LAYOUT, 3)
    for n in range(5):
        heartbeat.sample("rssi", n, n)
    assert pack(heartbeat, 4) == [4711, 4, [None, [2, 2, 3, 1, 4, 0]]]
    heartbeat.sample("rssi", 9, 5)  # drops one that is on its way
    heartbeat.settle()
    assert pack(heartbeat, 5) == [4711, 5, [None, 9]]


def test_what_exceeds_the_buffer_follows_in_the_next_heartbeat():
    heartbeat = Heartbeat(LAYOUT, 32)
    for n in range(20):
        heartbeat.sample("free-heap", 100000 + n, n)
    p = Packer(60)
    told = []
    for _ in range(10):
        whole = heartbeat.pack(p, 4711, 20, 20)
        samples = unpack(written(p))[2][0]
        told += samples[0::2]
        heartbeat.settle()
        if whole:
            break
    assert told == [100000 + n for n in range(20)]


def test_a_result_has_ages_and_its_seq():
    heartbeat = Heartbeat(LAYOUT, 4)
    result = ["d", "SUCCESS", None, 90, None, [["kws", None, None, 1, 1, 1]]]
    assert pack(heartbeat, 100, have=3, result=result, seq=9) == [
        4711, 100, None, None, 3, ["d", "SUCCESS", None, 10, None, [["kws", None, None, 1, 1, 1]]], 9,
    ]  # fmt: skip


def test_samples_that_are_no_numbers_are_the_callers_error():
    heartbeat = Heartbeat(LAYOUT, 4)
    for value in (True, None, "5", float("nan"), float("inf"), 1 << 64, -(1 << 63) - 1, [1]):
        raises(ValueError, heartbeat.sample, "rssi", value, 0)
    for metric in ("nothing", "latency-ms", "keyword-spotting/rssi", 5, -1):
        assert "has no metric" in str(raises(ValueError, heartbeat.sample, metric, 1, 0))
    raises(ValueError, Heartbeat, LAYOUT, 0)
    assert pack(heartbeat, 0) == [4711, 0]
