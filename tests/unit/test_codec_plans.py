"""What devices are told: plans and their digests against the vectors, acks within max_payload."""

from types import SimpleNamespace

import msgpack
import pytest

from gateway.cloud import serializer
from gateway.errors import Code
from gateway.protocol import codec
from gateway.protocol.messages import Ack
from gateway.protocol.service_calls import Definition, Deployment
from tests.support import vectors

DIGESTS = vectors.load("digests.json")
ACKS = [
    vector
    for vector in vectors.load("messages.json", "ack")
    if vector.get("shortest", True) and "known" not in vector and vector["value"][1] in list(Code)
]
TIME = 1_795_458_600


@pytest.mark.parametrize("vector", DIGESTS, ids=lambda vector: vector["name"])
def test_an_answer_of_the_service_becomes_its_plan(vector: vectors.Vector) -> None:
    plan = codec.plan(serializer.parse_deployments(vector["answer"]))
    assert plan.digest == vector["digest"]
    if not vector["sizes"]:  # the gateway knows no size yet
        assert (plan.payload.hex(), plan.bare.hex()) == (vector["plan"], vector["plan_without_urls"])


@pytest.mark.parametrize(
    ("first_bytes", "digest"),
    [("00000000", 1), ("c0000000", 1), ("40000000", 1), ("ffffffff", 0x3FFFFFFF), ("00000002", 2), ("80000001", 1)],
)
def test_a_digest_has_30_bits_and_is_never_0(first_bytes: str, digest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = SimpleNamespace(digest=lambda: bytes.fromhex(first_bytes) + b"\xff" * 28)
    monkeypatch.setattr("hashlib.sha256", lambda canonical: hashed)
    assert codec.plan(()).digest == digest


@pytest.mark.parametrize(
    ("checksum", "packed"),
    [
        ("A9993E364706816ABA3E25717850C26C9CD0D89D", bytes.fromhex("a9993e364706816aba3e25717850c26c9cd0d89d")),
        ("a9 993e364706816aba3e25717850c26c9cd0d89", "a9 993e364706816aba3e25717850c26c9cd0d89"),
        ("a9993e364706816aba3e25717850c26c9cd0d8", "a9993e364706816aba3e25717850c26c9cd0d8"),
        ("\u0660" * 40, "\u0660" * 40),
        ("", ""),
    ],
    ids=["upper-case", "blank", "38-digits", "digits-of-another-script", "empty"],
)
def test_only_40_hex_digits_travel_as_bytes(checksum: str, packed: bytes | str) -> None:
    plan = codec.plan((Deployment("d", None, (Definition("h", "DEPLOY", checksum),)),))
    assert msgpack.unpackb(plan.payload)[1] == [["d", None, [["h", 1, packed]]]]


def test_a_plan_without_urls_has_the_digest_of_the_one_with_them() -> None:
    plan = codec.plan((Deployment("d", None, (Definition("h", "DEPLOY", None, None, "s3://b/k"),)),))
    assert msgpack.unpackb(plan.payload)[0] == msgpack.unpackb(plan.bare)[0] == plan.digest
    assert b"s3://" in plan.payload
    assert b"s3://" not in plan.bare


@pytest.mark.parametrize("vector", ACKS, ids=lambda vector: vector["name"])
def test_an_ack_is_the_vectors_bytes(vector: vectors.Vector) -> None:
    seq, code, time, detail = (vector["value"] + [None])[:4]
    assert codec.ack(Ack(seq, Code(code), time, detail)).hex() == vector["hex"]


@pytest.mark.parametrize("detail", ["x" * 500, "ß" * 500, "€" * 500, "🜲" * 500, "short", ""])
@pytest.mark.parametrize("seq", [None, 5, 2**64 - 1])
def test_an_ack_fits_max_payload_and_tells_as_much_as_it_can(detail: str, seq: int | None) -> None:
    ack = Ack(seq, Code.REFUSED, TIME, detail)
    bare = len(codec.ack(Ack(seq, Code.REFUSED, TIME)))
    for room in range(bare, bare + 200):
        payload = codec.ack(ack, room)
        value = msgpack.unpackb(payload)
        told = value[3] if len(value) == 4 else ""
        assert len(payload) <= room
        assert value[:3] == [seq, 4, TIME]
        assert detail.startswith(told)
        assert len(told.encode()) >= min(len(detail.encode()), 120, room - bare - 2) - 3


def test_the_head_of_an_ack_is_sent_even_where_it_does_not_fit() -> None:
    assert msgpack.unpackb(codec.ack(Ack(5, Code.MALFORMED, TIME, "why"), 1)) == [5, 1, TIME]


def test_a_detail_that_is_no_text_is_told_as_far_as_it_is() -> None:
    value = msgpack.unpackb(codec.ack(Ack(5, Code.REFUSED, TIME, "before \ud800 after")))
    assert value[3] == "before ? after"
