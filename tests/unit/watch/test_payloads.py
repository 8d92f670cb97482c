"""`decode` and `encode`: what they take, what they show, and what they say of what is wrong."""

import base64
import json
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from gateway.cli import PayloadChannel, app
from gateway.protocol import FORMS
from gateway.watch import InputError, decode, encode, read_bytes, read_text
from tests.support import vectors

HELLO = bytes.fromhex("930792a5312e302e309193a3737973ab74656d7065726174757265ffc0")
HEARTBEAT = bytes.fromhex("97073c91cd016dc000c001")


@pytest.mark.parametrize(
    "form", [HEARTBEAT.hex(), HEARTBEAT.hex(" ").upper() + "\n", base64.b64encode(HEARTBEAT).decode()]
)
def test_a_payload_is_given_as_hex_or_base64_or_in_a_file(form: str, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_text(form)
    assert read_bytes(form) == read_bytes(f"@{file}") == HEARTBEAT
    file.write_bytes(HEARTBEAT)
    assert read_bytes(f"@{file}") == HEARTBEAT


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("930", "hex: 3 digits, half a byte at byte 1"),
        ("93 0g!", "neither hex ('g' at byte 4) nor base64"),
        ("\u00e9", "neither hex"),
    ],
)
def test_what_is_neither_is_said_with_its_byte(form: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(form)
    assert said in str(caught.value)


@pytest.mark.parametrize("vector", vectors.load("messages.json"), ids=lambda vector: vector["name"])
def test_what_decode_shows_encode_takes(vector: vectors.Vector) -> None:
    channel, payload = vector["channel"], vectors.payload(vector)
    shown = decode(channel, payload)
    assert decode(channel, encode(channel, json.dumps(shown))) == shown


def test_a_hello_names_the_samples() -> None:
    shown = decode("hb", HEARTBEAT, HELLO)
    assert shown is not None
    assert shown["samples"] == [{"model": None, "metric": "sys/temperature", "value": 36.5, "age": 0}]
    assert encode("hb", json.dumps(shown)) == HEARTBEAT


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (b"", "--hello has no tag, and the heartbeat tag 7"),
        (b"\x92\x08" + HELLO[2:-1], "--hello has tag 8, and the heartbeat tag 7"),
        (b"\x92\x07", "hello: not msgpack (Unpack failed: incomplete input), at byte 2 of 2 (9207)"),
        (b"\x92\x07\x92\xa11\x90", "values: 1, the layout has 0"),
    ],
)
def test_a_hello_that_is_not_of_the_heartbeat_is_refused(hello: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        decode("hb", HEARTBEAT, hello)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"tag": 7, "time": -1}', "hb: time: -1 where an int of 0 or more belongs, at byte 2 of 3 (9207ff)"),
        ('{"é": 7,, ', "JSON: Expecting property name enclosed in double quotes at byte 9"),
        ("[7, 0, [NaN]]", "JSON: NaN is no number of the protocol"),
        ('{"tag": 7, "tim": 1}', "hb: 'tim' is none of its elements"),
        ("[7, 0, [[1]]]", "hb: samples: an age is missing"),
        ("[" * 9000 + "]" * 9000, "nested too deeply"),
    ],
)
def test_json_that_makes_no_payload_is_said_with_its_byte(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        encode("hb", text)
    assert said in str(caught.value)


def test_json_is_utf_8(tmp_path: Path) -> None:
    (tmp_path / "json").write_bytes(b'["\xff"]')
    with pytest.raises(InputError, match="byte 2 is no UTF-8"):
        read_text(f"@{tmp_path / 'json'}")


def command(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    done = CliRunner().invoke(app, arguments, input=stdin)
    return done.exit_code, done.stdout_bytes, done.stderr


def test_the_commands_read_stdin_and_write_bytes(tmp_path: Path) -> None:
    file = tmp_path / "payload"
    assert command("encode", "--channel", "hb", "--out", str(file), stdin=b"[7, 60, [365], null, 0, null, 1]")[0] == 0
    assert file.read_bytes() == HEARTBEAT
    status, shown, _ = command("decode", "--channel", "hb", f"@{file}", "--hello", HELLO.hex())
    assert (status, json.loads(shown)["samples"][0]["value"]) == (0, 36.5)
    assert command("encode", "--channel", "hb", "--out", "-", stdin=shown) == (0, HEARTBEAT, "")
    assert command("encode", "--channel", "get", "[0]") == (0, b"9100\n", "")


def test_the_commands_end_with_1_where_something_is_wrong() -> None:
    said = "edge-gateway decode: get: get: -1 where an array belongs, at byte 0 of 1 (ff)\n"
    assert command("decode", "--channel", "get", stdin=b"\xff") == (1, b"", said)
    missing = "edge-gateway decode: missing: No such file or directory; correct the path\n"
    assert command("decode", "--channel", "get", "@missing") == (1, b"", missing)
    assert command("encode", "--channel", "get", "nul")[0] == 1
    assert command("encode", "--channel", "dead", "[0]")[0] == 2


def test_the_commands_know_every_channel_with_a_form() -> None:
    assert get_args(PayloadChannel) == FORMS
