"""What pages say of the code, compared with the code: settings, parameters, payloads by hand, the size of README.md."""

import inspect
import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from device_sdk.agent import Agent
from device_sdk.backlog import Backlog
from device_sdk.port import Port
from device_sdk.port_async import AsyncPort
from device_sdk.port_board import BoardPort
from device_sdk.port_paho import PahoPort
from gateway.config import Settings
from gateway.watch import encode
from tests.support import pages
from tests.support.paths import ROOT

BY_HAND = re.compile(r"edge-gateway encode --channel (\w+) '([^']+)'")
README_BYTES = 8_000
SIZES = (
    *("heartbeat", "packet", "mpy_core", "mpy_agent", "mpy_all", "heap_core", "heap_all", "heap_plan", "heap_rom"),
    *("smallest_heap", "smallest_heap_rom", "allocated"),
)
SIZES_IN_C = ("c_heartbeat", "c_codec", "c_all", "c_sha1")
"""The budgets in the order of the pages' rows."""


def settings() -> list[list[str]]:
    """The rows of the table. A default that this machine computes is empty."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        shown = "" if default in (None, "", ()) else json.dumps(default)
        rows.append([f"`{name}`", f"`{shown}`" if shown else "", str(field.description)])
    return rows


def test_the_table_of_settings_is_the_settings() -> None:
    assert pages.table_below("Settings") == settings()


def parameters(function: Callable[..., Any]) -> dict[str, str]:
    """Name -> default as the table writes it, "" for none."""
    found = list(inspect.signature(function).parameters.values())[1:]
    return {each.name: "" if each.default is each.empty else shown(each.default) for each in found}


def shown(default: Any) -> str:
    if callable(default):
        return f"`{default.__name__}`"
    return f"`{json.dumps(default)}`" if isinstance(default, str) else f"`{default}`"


@pytest.mark.parametrize("kind", [Agent, Port], ids=lambda kind: kind.__name__)
def test_the_sdks_reference_has_every_parameter_and_its_default(kind: type) -> None:
    rows = pages.page("device_sdk/README.md").table(kind.__name__)
    assert rows is not None
    listed = {name: default for names, default, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed == parameters(vars(kind)["__init__"])


def test_the_sdks_reference_names_nothing_that_is_not_there() -> None:
    """Attributes and methods of `agent` and `port`, in its tables and its text."""
    text = pages.page("device_sdk/README.md").text
    made = Backlog(["1.0.0", [], []])
    made.start(0, None, 1, False)
    ports = [BoardPort(made, "127.0.0.1", "fleet-a", "dev-1"), PahoPort, AsyncPort]
    named = set(re.findall(r"`(agent|port)\.(\w+)", text))
    assert len(named) > 10
    there = {"agent": set(dir(made)), "port": {name for port in ports for name in dir(port)}}
    assert [(whose, name) for whose, name in named if name not in there[whose]] == []


def test_the_sdks_sizes_are_the_ceilings_that_its_tests_hold() -> None:
    budgets = json.loads((ROOT / "tests/device/budgets/budgets.json").read_text("utf-8"))
    rows = pages.table_below("Sizes")
    assert [int(row[1].replace(",", "")) for row in rows] == [budgets[name]["ceiling"] for name in SIZES]
    rows_in_c = pages.table_below("Bytes of code")
    assert [int(row[1].replace(",", "")) for row in rows_in_c] == [budgets[name]["ceiling"] for name in SIZES_IN_C]
    features = pages.page("device_sdk/README.md").table("Features") or []
    assert {row[0].strip("`"): [int(cell.replace(",", "")) for cell in row[2:]] for row in features} == {
        name: [budget["mpy"], budget["heap"]] for name, budget in budgets["features"].items()
    }
    assert {*SIZES, *SIZES_IN_C} == {name for name, budget in budgets.items() if "ceiling" in budget}


def test_payloads_by_hand_can_be_made() -> None:
    payloads = [found for page in pages.pages() for found in BY_HAND.findall(page.text)]
    assert len(payloads) >= 3
    assert all(encode(channel, value) for channel, value in payloads)


def test_the_changelog_has_a_section_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", pages.page("CHANGELOG.md").text, re.MULTILINE)


def test_the_first_page_is_short() -> None:
    assert len(pages.page("README.md").text.encode()) < README_BYTES
