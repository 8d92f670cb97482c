"""Reads: the protocol's limits, the device's own plan and no other, and one question to the service before code 5."""

import pytest

from gateway.core.effects import DeadLetter, SendBlocks
from gateway.errors import Code
from gateway.protocol.messages import Get, Heartbeat, Hello, ModelFile, Plan, Read
from gateway.protocol.service_calls import Accepted, Cancelled, GetDeployments, SendHeartbeat
from tests.support.engine import DEVICE, HELLO, LAYOUT, OTHER, TAKEN, Room, Slip, calls, codes, kinds, only, settled

KWS = ModelFile("s3://models/kws", "a9993e364706816aba3e25717850c26c9cd0d89d")
VAD = ModelFile("s3://models/vad", "84983e441c3bd26ebaae4aa1f95129e5e54670f1")


def plan(digest: int, *files: ModelFile | None) -> Accepted[Plan]:
    return Accepted(Plan(digest, b"u", b"b", files))


@pytest.fixture
def room() -> Room:
    """DEVICE holds plan 5 with two files and an UNDEPLOY between them, OTHER holds plan 6 with one."""
    room = Room()
    for device, answer in ((DEVICE, plan(5, KWS, None, VAD)), (OTHER, plan(6, VAD))):
        room.know(device=device)
        room.hear(Get(0), device)
        room.answer(answer, device)
    room.wait(10.0)
    room.ticket = 0
    return room


def test_a_read_is_settled_at_once_and_its_blocks_follow(room: Room) -> None:
    effects = room.hear(Read(5, 0, 0, 512, 16))
    assert kinds(effects) == ["Acknowledge", "SendBlocks"]
    assert only(effects, SendBlocks) == [SendBlocks(DEVICE, Slip(1), KWS, Read(5, 0, 0, 512, 16))]
    assert settled(effects) == [1]


def test_the_index_counts_every_definition(room: Room) -> None:
    [sent] = only(room.hear(Read(5, 2, 0, 512)), SendBlocks)
    assert sent.file == VAD


@pytest.mark.parametrize("index", [1, 3, 2**64 - 1])
def test_an_index_without_a_file_is_code_5_and_the_service_is_not_asked(index: int, room: Room) -> None:
    effects = room.hear(Read(5, index, 0, 512))
    assert (kinds(effects), codes(effects)) == (["Acknowledge", "PublishAck", "DeadLetter"], [(None, 5)])
    assert only(effects, DeadLetter)[0].detail == f"no plan 5 with a file {index} is known"


def test_another_devices_plan_is_not_this_ones(room: Room) -> None:
    assert calls(room.hear(Read(6, 0, 0, 512))) == [GetDeployments(DEVICE, patient=False)]
    effects = room.answer(plan(5, KWS))
    assert (codes(effects), only(effects, SendBlocks)) == ([(None, 5)], [])


@pytest.mark.parametrize(
    ("length", "count", "why"),
    [(0, 1, "length: 0"), (512, 0, "count: 0")],
)
def test_what_asks_for_nothing_is_code_4(length: int, count: int, why: str, room: Room) -> None:
    effects = room.hear(Read(5, 0, 0, length, count))
    assert (kinds(effects), codes(effects)) == (["PublishAck", "DeadLetter", "Acknowledge"], [(None, 4)])
    assert why in only(effects, DeadLetter)[0].detail


@pytest.mark.parametrize(("beyond", "is_refused"), [(0, False), (1, True)])
def test_a_block_must_fit_max_payload_with_what_is_around_it(beyond: int, is_refused: bool, room: Room) -> None:
    assert HELLO.max_payload == 1024
    around = 1 + 1 + 1 + 1 + 5 + 3  # the array; digest, index, offset, and the file's size at most; the bin
    effects = room.hear(Read(5, 0, 0, 1024 - around + beyond))
    assert [reply for _, reply in codes(effects)] == [4] * is_refused
    assert len(only(effects, SendBlocks)) == (not is_refused)


def test_an_offset_at_the_end_of_what_a_uint_holds_is_past_the_files_end(room: Room) -> None:
    assert len(only(room.hear(Read(5, 0, (1 << 64) - 1, 512, 2)), SendBlocks)) == 1


def test_without_a_max_payload_the_protocols_limits_hold(room: Room) -> None:
    room.know(Hello(4712, LAYOUT))
    assert len(only(room.hear(Read(5, 0, 0, 65_536, 64)), SendBlocks)) == 1


def test_a_read_of_an_unknown_plan_makes_the_service_be_asked_and_is_answered_then(room: Room) -> None:
    effects = room.hear(Read(7, 0, 0, 512))
    assert (settled(effects), calls(effects)) == ([1], [GetDeployments(DEVICE, patient=False)])
    effects = room.answer(plan(7, VAD))
    assert only(effects, SendBlocks) == [SendBlocks(DEVICE, Slip(1), VAD, Read(7, 0, 0, 512))]


def test_a_gateway_that_knows_nothing_asks_and_answers() -> None:
    room = Room()
    assert len(calls(room.hear(Read(5, 0, 0, 512)))) == 1
    assert len(only(room.answer(plan(5, KWS)), SendBlocks)) == 1


def test_while_the_service_is_asked_the_newest_read_counts(room: Room) -> None:
    room.hear(Read(7, 0, 0, 512))
    assert kinds(room.hear(Read(7, 0, 512, 512))) == kinds(room.hear(Read(7, 0, 1024, 512))) == ["Acknowledge"]
    effects = room.answer(plan(7, VAD))
    assert [sent.read.offset for sent in only(effects, SendBlocks)] == [0, 1024]
    assert calls(effects) == []


def test_an_outage_is_no_answer_to_a_read(room: Room) -> None:
    room.hear(Read(7, 0, 0, 512))
    assert room.answer(Cancelled("503")) == []
    assert len(calls(room.hear(Read(7, 0, 0, 512)))) == 1


def test_after_an_outage_the_known_plan_is_still_readable(room: Room) -> None:
    room.hear(Read(7, 0, 0, 512))
    room.answer(Cancelled("503"))
    assert len(only(room.hear(Read(5, 0, 0, 512)), SendBlocks)) == 1


def test_the_old_plan_is_not_readable_once_the_service_has_another(room: Room) -> None:
    room.hear(Get(5))
    room.answer(plan(7, VAD))
    assert calls(room.hear(Read(5, 0, 0, 512))) == [GetDeployments(DEVICE, patient=False)]
    assert codes(room.answer(plan(7, VAD))) == [(None, 5)]
    assert codes(room.hear(Read(5, 0, 0, 512))) == [(None, 5)]
    assert len(only(room.hear(Read(7, 0, 0, 512)), SendBlocks)) == 1


def test_a_flood_of_reads_of_an_unknown_plan_asks_once_a_second(room: Room) -> None:
    asked = 0
    for _ in range(100):
        for _ in range(10):
            if calls(room.hear(Read(7, 0, 0, 512))):
                asked += 1
                room.answer(plan(5, KWS))
        room.wait(0.05)
    assert asked == 5


def test_reads_of_an_unknown_plan_do_not_hold_up_heartbeats(room: Room) -> None:
    room.hear(Read(7, 0, 0, 512))
    room.hear(Heartbeat(HELLO.tag, 1, seq=1))
    room.hear(Read(7, 0, 0, 512))
    effects = room.answer(plan(5, KWS))
    assert codes(effects) == [(None, 5), (None, 5)]
    assert [type(call) for call in calls(effects)] == [SendHeartbeat]
    assert codes(room.answer(TAKEN)) == [(1, 0)]


def test_a_read_passes_while_a_heartbeat_is_in_flight(room: Room) -> None:
    room.hear(Heartbeat(HELLO.tag, 1, seq=1))
    assert len(only(room.hear(Read(5, 0, 0, 512)), SendBlocks)) == 1


def test_a_file_that_cannot_be_had_is_told_and_buried(room: Room) -> None:
    effects = room.core.unreadable(DEVICE, Slip(1), Code.UNKNOWN_PLAN, "s3://models/kws: gone", room.now)
    assert (kinds(effects), codes(effects)) == (["PublishAck", "DeadLetter"], [(None, 5)])
    assert only(effects, DeadLetter) == [DeadLetter(Slip(1), Code.UNKNOWN_PLAN, "s3://models/kws: gone")]


def test_after_the_stop_nothing_is_told(room: Room) -> None:
    room.core.stop()
    assert room.hear(Read(5, 0, 0, 512)) == []
    assert room.core.unreadable(DEVICE, Slip(1), Code.UNKNOWN_PLAN, "gone", room.now) == []
