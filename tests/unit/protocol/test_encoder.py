"""Plans and their digests against the vectors, acks within max_payload."""

from types import SimpleNamespace

import msgpack
import pytest

from gateway.cloud import serializer
from gateway.errors import Code
from gateway.protocol import encoder
from gateway.protocol.messages import Ack, ModelFile
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
    plan = encoder.encode_plan(serializer.parse_deployments(vector["answer"]))
    assert plan.digest == vector["digest"]
    if not vector["sizes"]:  # the gateway knows no size yet
        assert (plan.payload.hex(), plan.payload_without_urls.hex()) == (vector["plan"], vector["plan_without_urls"])


@pytest.mark.parametrize(
    ("first_bytes", "digest"),
    [("00000000", 1), ("c0000000", 1), ("40000000", 1), ("ffffffff", 0x3FFFFFFF), ("00000002", 2), ("80000001", 1)],
)
def test_a_digest_has_30_bits_and_is_never_0(first_bytes: str, digest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = SimpleNamespace(digest=lambda: bytes.fromhex(first_bytes) + b"\xff" * 28)
    monkeypatch.setattr("hashlib.sha256", lambda canonical: hashed)
    assert encoder.encode_plan(()).digest == digest


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
    plan = encoder.encode_plan((Deployment("d", None, (Definition("h", "DEPLOY", checksum),)),))
    assert msgpack.unpackb(plan.payload)[1] == [["d", None, [["h", 1, packed]]]]


def test_a_plan_without_urls_has_the_digest_of_the_one_with_them() -> None:
    plan = encoder.encode_plan((Deployment("d", None, (Definition("h", "DEPLOY", None, None, "s3://b/k"),)),))
    assert msgpack.unpackb(plan.payload)[0] == msgpack.unpackb(plan.payload_without_urls)[0] == plan.digest
    assert b"s3://" in plan.payload
    assert b"s3://" not in plan.payload_without_urls


@pytest.mark.parametrize("vector", ACKS, ids=lambda vector: vector["name"])
def test_an_ack_is_the_vectors_bytes(vector: vectors.Vector) -> None:
    seq, code, time, detail = (vector["value"] + [None])[:4]
    assert encoder.encode_ack(Ack(seq, Code(code), time, detail)).hex() == vector["hex"]


@pytest.mark.parametrize("detail", ["x" * 500, "ß" * 500, "€" * 500, "🜲" * 500, "short", ""])
@pytest.mark.parametrize("seq", [None, 5, 2**64 - 1])
def test_an_ack_fits_max_payload_with_as_much_detail_as_possible(detail: str, seq: int | None) -> None:
    ack = Ack(seq, Code.REFUSED, TIME, detail)
    least = len(encoder.encode_ack(Ack(seq, Code.REFUSED, TIME)))
    for max_payload in range(least, least + 200):
        payload = encoder.encode_ack(ack, max_payload)
        value = msgpack.unpackb(payload)
        sent = value[3] if len(value) == 4 else ""
        assert len(payload) <= max_payload
        assert value[:3] == [seq, 4, TIME]
        assert detail.startswith(sent)
        assert len(sent.encode()) >= min(len(detail.encode()), 120, max_payload - least - 2) - 3


def test_an_ack_without_detail_is_sent_even_where_it_does_not_fit() -> None:
    assert msgpack.unpackb(encoder.encode_ack(Ack(5, Code.MALFORMED, TIME, "why"), 1)) == [5, 1, TIME]


def test_a_detail_that_is_not_unicode_is_sent_with_replacements() -> None:
    value = msgpack.unpackb(encoder.encode_ack(Ack(5, Code.REFUSED, TIME, "before \ud800 after")))
    assert value[3] == "before ? after"


def test_a_block_has_its_place_and_the_size_of_the_file() -> None:
    assert msgpack.unpackb(encoder.encode_block(7, 1, 512, 4096, b"data")) == [7, 1, 512, 4096, b"data"]


def test_the_files_of_a_plan_are_those_of_its_definitions_in_their_order() -> None:
    definitions = (
        Definition("a", "DEPLOY", "AB" * 20, "SHA1", "s3://models/a"),
        Definition("b", "UNDEPLOY", "cd" * 20, "SHA1", "s3://models/b"),
        Definition("c", "DEPLOY", None, None, "s3://models/c"),
    )
    file = ModelFile("s3://models/a", "ab" * 20)
    assert encoder.encode_plan((Deployment("d", None, definitions),)).files == (file, None, None)
