"""No figure in bytes grows past its ceiling in budgets.json. The timed ones are printed by `make budgets`."""

import ast
import json
import re

import pytest

from tests.device.budgets import c_sizes, sdk_budgets
from tests.support.needs import program
from tests.support.pages import page

BUDGETS = json.loads(sdk_budgets.BUDGETS.read_text())
STATIC = ["mpy_core", "mpy_agent", "mpy_all", "heap_core", "heap_all", "heap_plan", "heap_rom", "heartbeat"]
MOVING = ["packet", "allocated", "smallest_heap", "smallest_heap_rom"]


@pytest.fixture(scope="module")
def out(micropython, cross, tmp_path_factory):
    """A folder with all that a board has, compiled."""
    program("mpremote")
    made = tmp_path_factory.mktemp("budgets")
    sdk_budgets.compile_all(made)
    return made


@pytest.fixture(scope="module")
def static(out):
    return sdk_budgets.static(out)


@pytest.fixture
def port(out):
    program("mosquitto")
    with sdk_budgets.mosquitto(out) as (_, port):
        yield port


def holds(name, figure):
    assert figure <= BUDGETS[name]["ceiling"], BUDGETS[name]["what"]


@pytest.mark.parametrize("name", STATIC)
def test_ceiling(static, name):
    holds(name, static[name])


@pytest.mark.parametrize("name", ["packet", "allocated"])
def test_ceiling_of_what_moves(out, port, name):
    holds(name, sdk_budgets.steady(out, port)[name])


@pytest.mark.parametrize(("name", "rom"), [("smallest_heap", False), ("smallest_heap_rom", True)])
def test_ceiling_of_the_heap(out, port, name, rom):
    holds(name, sdk_budgets.smallest_heap(out, port, rom))


@pytest.mark.parametrize("text", [BUDGETS["smallest_heap"]["what"], page("device_sdk/README.md").text])
def test_the_smallest_heap_names_its_program(text):
    """sdk_whole.py, its metrics and sizes."""
    tree = ast.parse((sdk_budgets.FOLDER / "sdk_whole.py").read_text())
    (layout,) = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    calls = {node.func.id: node for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "id")}
    payload, keep = [argument.value for argument in calls["Agent"].args[6:8]]
    (size,) = [word.value.value for word in calls["Port"].keywords]
    assert payload == size
    found = re.search(r"(\d+) metrics, (?:room for )?(\d+) samples, payloads of (?:at most )?(\d+) B", text)
    assert [int(number) for number in found.groups()] == [len(layout[1]), keep, payload]
    assert "sdk_whole.py" in text
    assert f"{len(sdk_budgets.MODEL):,} B" in text


def test_ceilings_of_the_features(out):
    """A module of package.json that is not of the base has its own line in budgets.json."""
    costs = sdk_budgets.features(out)
    assert costs.keys() == BUDGETS["features"].keys()
    for name, cost in costs.items():
        for kind, figure in cost.items():
            assert figure <= BUDGETS["features"][name][kind], (name, kind)


def test_ceilings_of_the_c_client(tmp_path):
    program(c_sizes.COMPILER)
    figures = c_sizes.measure(tmp_path)
    assert figures.keys() == c_sizes.USED.keys()
    for name, figure in figures.items():
        holds(name, figure)


def test_without_the_compiler_the_c_client_is_not_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert c_sizes.measure(tmp_path) is None


def test_every_ceiling_is_tested():
    assert {name for name, budget in BUDGETS.items() if "ceiling" in budget} == {*STATIC, *MOVING, *c_sizes.USED}
