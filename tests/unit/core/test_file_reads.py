"""Reads: the protocol's limits, the device's own plan and no other, and one call to the service before code 5."""

import pytest

from gateway.core.effects import DeadLetter, SendBlocks
from gateway.core.file_reads import block_overhead, limit_violation
from gateway.errors import Code, FileError
from gateway.mqtt import BrokerLimits, packets
from gateway.protocol.encoder import encode_block
from gateway.protocol.messages import Get, Heartbeat, Hello, ModelFile, Plan, Read
from gateway.protocol.service_calls import Accepted, Cancelled, GetDeployments, SendHeartbeat
from gateway.protocol.topics import Topics
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    HELLO,
    LAYOUT,
    OTHER,
    EngineHarness,
    Token,
    acknowledged,
    calls,
    codes,
    of_type,
    type_names,
)

KWS = ModelFile("s3://models/kws", "a9993e364706816aba3e25717850c26c9cd0d89d")
VAD = ModelFile("s3://models/vad", "84983e441c3bd26ebaae4aa1f95129e5e54670f1")


def plan(digest: int, *files: ModelFile | None) -> Accepted[Plan]:
    return Accepted(Plan(digest, b"u", b"b", files))


@pytest.fixture
def harness() -> EngineHarness:
    """DEVICE holds plan 5 with two files and an UNDEPLOY between them, OTHER holds plan 6 with one."""
    harness = EngineHarness()
    for device, answer in ((DEVICE, plan(5, KWS, None, VAD)), (OTHER, plan(6, VAD))):
        harness.restore_hello(device=device)
        harness.receive(Get(0), device)
        harness.resolve(answer, device)
    harness.wait(10.0)
    harness.deliveries = 0
    return harness


def test_a_read_is_acknowledged_at_once_and_its_blocks_follow(harness: EngineHarness) -> None:
    effects = harness.receive(Read(5, 0, 0, 512, 16))
    assert type_names(effects) == ["Acknowledge", "SendBlocks"]
    assert of_type(effects, SendBlocks) == [SendBlocks(DEVICE, Token(1), KWS, Read(5, 0, 0, 512, 16))]
    assert acknowledged(effects) == [1]


def test_the_index_counts_every_definition(harness: EngineHarness) -> None:
    [sent] = of_type(harness.receive(Read(5, 2, 0, 512)), SendBlocks)
    assert sent.file == VAD


@pytest.mark.parametrize("index", [1, 3, 2**64 - 1])
def test_an_index_without_a_file_is_code_5_and_no_call(index: int, harness: EngineHarness) -> None:
    effects = harness.receive(Read(5, index, 0, 512))
    assert (type_names(effects), codes(effects)) == (["Acknowledge", "PublishAck", "DeadLetter"], [(None, 5)])
    assert of_type(effects, DeadLetter)[0].detail == f"no plan 5 with a file {index} is known"


def test_another_devices_plan_is_not_this_ones(harness: EngineHarness) -> None:
    assert calls(harness.receive(Read(6, 0, 0, 512))) == [GetDeployments(DEVICE, retryable=False)]
    effects = harness.resolve(plan(5, KWS))
    assert (codes(effects), of_type(effects, SendBlocks)) == ([(None, 5)], [])


@pytest.mark.parametrize(
    ("length", "count", "why"),
    [(0, 1, "length: 0"), (512, 0, "count: 0")],
)
def test_what_asks_for_nothing_is_code_4(length: int, count: int, why: str, harness: EngineHarness) -> None:
    effects = harness.receive(Read(5, 0, 0, length, count))
    assert (type_names(effects), codes(effects)) == (["PublishAck", "DeadLetter", "Acknowledge"], [(None, 4)])
    assert why in of_type(effects, DeadLetter)[0].detail


@pytest.mark.parametrize(("beyond", "is_refused"), [(0, False), (1, True)])
def test_a_block_must_fit_max_payload_with_what_is_around_it(
    beyond: int, is_refused: bool, harness: EngineHarness
) -> None:
    assert HELLO.max_payload == 1024
    around = 1 + 1 + 1 + 1 + 5 + 3  # the array; digest, index, offset, and the file's size at most; the bin
    effects = harness.receive(Read(5, 0, 0, 1024 - around + beyond))
    assert [reply for _, reply in codes(effects)] == [4] * is_refused
    assert len(of_type(effects, SendBlocks)) == (not is_refused)


def test_a_block_must_fit_the_brokers_packets(harness: EngineHarness) -> None:
    around = block_overhead(Read(5, 0, 0, 512))
    room = len(f"{DEVICE.fleet}/{DEVICE.name}/block") + 512 + around + len(packets.message_expiry(60))
    harness.engine.set_room(room)
    assert len(of_type(harness.receive(Read(5, 0, 0, 512)), SendBlocks)) == 1
    harness.engine.set_room(room - 1)
    effects = harness.receive(Read(5, 0, 0, 512))
    assert (of_type(effects, SendBlocks), codes(effects)) == ([], [(None, 4)])
    assert f"exceed the {511 + around} that the broker's packets take" in of_type(effects, DeadLetter)[0].detail


def test_the_longest_block_fills_the_brokers_largest_packet() -> None:
    topics, longest = Topics("edge"), 1000
    room = topics.room(BrokerLimits(maximum_packet_size=longest).publication_room) - len("f/d/block")
    length = max(each for each in range(1, longest) if limit_violation(Read(5, 0, 0, each), None, room) is None)
    block = encode_block(5, 0, 0, 1 << 16, bytes(length))
    assert len(packets.publish("edge/f/d/block", block, 1, False, packets.message_expiry(60))) == longest


def test_an_offset_at_the_end_of_what_a_uint_holds_is_past_the_files_end(harness: EngineHarness) -> None:
    assert len(of_type(harness.receive(Read(5, 0, (1 << 64) - 1, 512, 2)), SendBlocks)) == 1


def test_without_a_max_payload_the_protocols_limits_hold(harness: EngineHarness) -> None:
    harness.restore_hello(Hello(4712, LAYOUT))
    assert len(of_type(harness.receive(Read(5, 0, 0, 65_536, 64)), SendBlocks)) == 1


def test_a_read_of_an_unknown_plan_calls_the_service_and_is_answered_then(harness: EngineHarness) -> None:
    effects = harness.receive(Read(7, 0, 0, 512))
    assert (acknowledged(effects), calls(effects)) == ([1], [GetDeployments(DEVICE, retryable=False)])
    effects = harness.resolve(plan(7, VAD))
    assert of_type(effects, SendBlocks) == [SendBlocks(DEVICE, Token(1), VAD, Read(7, 0, 0, 512))]


def test_a_gateway_that_knows_nothing_asks_and_answers() -> None:
    harness = EngineHarness()
    assert len(calls(harness.receive(Read(5, 0, 0, 512)))) == 1
    assert len(of_type(harness.resolve(plan(5, KWS)), SendBlocks)) == 1


def test_during_the_call_the_newest_read_counts(harness: EngineHarness) -> None:
    harness.receive(Read(7, 0, 0, 512))
    assert (
        type_names(harness.receive(Read(7, 0, 512, 512)))
        == type_names(harness.receive(Read(7, 0, 1024, 512)))
        == ["Acknowledge"]
    )
    effects = harness.resolve(plan(7, VAD))
    assert [sent.read.offset for sent in of_type(effects, SendBlocks)] == [0, 1024]
    assert calls(effects) == []


def test_an_outage_does_not_answer_a_read(harness: EngineHarness) -> None:
    harness.receive(Read(7, 0, 0, 512))
    assert harness.resolve(Cancelled("503")) == []
    assert len(calls(harness.receive(Read(7, 0, 0, 512)))) == 1


def test_after_an_outage_the_known_plan_is_still_readable(harness: EngineHarness) -> None:
    harness.receive(Read(7, 0, 0, 512))
    harness.resolve(Cancelled("503"))
    assert len(of_type(harness.receive(Read(5, 0, 0, 512)), SendBlocks)) == 1


def test_the_old_plan_is_not_readable_once_the_service_has_another(harness: EngineHarness) -> None:
    harness.receive(Get(5))
    harness.resolve(plan(7, VAD))
    assert calls(harness.receive(Read(5, 0, 0, 512))) == [GetDeployments(DEVICE, retryable=False)]
    assert codes(harness.resolve(plan(7, VAD))) == [(None, 5)]
    assert codes(harness.receive(Read(5, 0, 0, 512))) == [(None, 5)]
    assert len(of_type(harness.receive(Read(7, 0, 0, 512)), SendBlocks)) == 1


def test_many_reads_of_an_unknown_plan_call_once_a_second(harness: EngineHarness) -> None:
    asked = 0
    for _ in range(100):
        for _ in range(10):
            if calls(harness.receive(Read(7, 0, 0, 512))):
                asked += 1
                harness.resolve(plan(5, KWS))
        harness.wait(0.05)
    assert asked == 5


def test_reads_of_an_unknown_plan_do_not_delay_heartbeats(harness: EngineHarness) -> None:
    harness.receive(Read(7, 0, 0, 512))
    harness.receive(Heartbeat(HELLO.tag, 1, seq=1))
    harness.receive(Read(7, 0, 0, 512))
    effects = harness.resolve(plan(5, KWS))
    assert codes(effects) == [(None, 5), (None, 5)]
    assert [type(call) for call in calls(effects)] == [SendHeartbeat]
    assert codes(harness.resolve(ACCEPTED)) == [(1, 0)]


def test_a_read_passes_while_a_heartbeat_is_in_flight(harness: EngineHarness) -> None:
    harness.receive(Heartbeat(HELLO.tag, 1, seq=1))
    assert len(of_type(harness.receive(Read(5, 0, 0, 512)), SendBlocks)) == 1


def test_a_file_that_is_unavailable_gets_an_error_and_a_dead_letter(harness: EngineHarness) -> None:
    effects = harness.engine.file_unavailable(
        DEVICE, Token(1), FileError(Code.UNKNOWN_PLAN, "s3://models/kws: gone"), harness.now
    )
    assert (type_names(effects), codes(effects)) == (["PublishAck", "DeadLetter"], [(None, 5)])
    assert of_type(effects, DeadLetter) == [DeadLetter(Token(1), Code.UNKNOWN_PLAN, "s3://models/kws: gone")]


def test_after_the_stop_no_error_is_published(harness: EngineHarness) -> None:
    harness.engine.stop()
    assert harness.receive(Read(5, 0, 0, 512)) == []
    assert harness.engine.file_unavailable(DEVICE, Token(1), FileError(Code.UNKNOWN_PLAN, "gone"), harness.now) == []
