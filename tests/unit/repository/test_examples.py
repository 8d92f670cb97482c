"""The SDK's examples: what they would say as their hello is taken by the gateway."""

import ast
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gateway.protocol import decoder
from gateway.protocol.messages import Hello
from tests.support import source
from tests.support.paths import ROOT

EXAMPLES = sorted((ROOT / "device_sdk" / "examples").glob("*.py"))


def layout_of(example: Path) -> Any:
    (found,) = [
        node.value
        for node in source.parse(example).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LAYOUT"
    ]
    return ast.literal_eval(found)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_its_layout_keeps_to_the_services_limits(example: Path) -> None:
    assert isinstance(decoder.decode_hello(msgpack.packb([1, layout_of(example), None])), Hello)
