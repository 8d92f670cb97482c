"""The protocol page's hex dumps are the vectors that they name."""

import json
import re

import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "device_sdk" / "PROTOCOL.md").read_text()
DUMPS = [dump for block in re.findall(r"^```\n(vector .*?)^```$", PAGE, re.M | re.S) for dump in block.split("\n\n")]
VECTORS = {each["name"]: each for each in json.loads((ROOT / "tests/vectors/messages.json").read_text())["vectors"]}


def hex_of(line: str) -> str:
    # Bytes are one or two blanks apart; the words beside them begin after more, or are no bytes.
    return "".join(re.match(r"(?:[0-9a-f]{2,} {0,2})*", line.strip())[0].split())


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.split()[1])
def test_dump(dump):
    head, *lines = dump.strip().splitlines()
    assert "".join(map(hex_of, lines)) == VECTORS[head.split()[1]]["hex"]


def test_every_channel_has_one():
    assert {VECTORS[dump.split()[1]]["channel"] for dump in DUMPS} == {
        "hello",
        "hb",
        "get",
        "live",
        "plan",
        "ack",
        "read",
        "block",
    }
