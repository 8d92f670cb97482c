"""No figure in bytes grows past its budget.

The times stand in the same file; tests/benchmarks/sdk_budgets.py prints all of them, and no test judges a time.
"""

from collections.abc import Iterator

import pytest

from tests.benchmarks.sdk_figures import BUDGETS, Board, tool
from tests.benchmarks.sdk_site import acting_gateway, mosquitto

from .conftest import missing

COUNT = 10_000


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    try:
        for name in ("mpy-cross", "micropython", "mosquitto"):
            tool(name)
    except LookupError as error:
        missing(str(error))
    return Board(tmp_path_factory.mktemp("board"))


@pytest.fixture
def port(board: Board) -> Iterator[int]:
    with mosquitto(tool("mosquitto"), board.folder) as (port, _), acting_gateway(port):
        yield port


def over(figures: dict[str, int]) -> dict[str, tuple[int, int]]:
    """(figure, budget) of those that grew past it."""
    return {name: (each, BUDGETS[name]["budget"]) for name, each in figures.items() if each > BUDGETS[name]["budget"]}


@pytest.mark.parametrize("kind", ["mpy", "heap", "message"])
def test_nothing_grew_past_its_budget(board: Board, kind: str) -> None:
    assert over(getattr(board, kind)()) == {}


def test_the_whole_agent_runs_in_its_budget(board: Board, port: int) -> None:
    assert board.agent_runs_in(port, BUDGETS["smallest_heap"]["budget"])


def test_steady_heartbeats_allocate_nothing(board: Board, port: int) -> None:
    assert board.allocated(port, COUNT) == BUDGETS["allocated"]["budget"] == 0


def test_what_is_too_large_is_found(board: Board, port: int) -> None:
    assert over({"heartbeat": 29, "packet": 60}) == {"heartbeat": (29, 28)}
    assert not board.agent_runs_in(port, 8 << 10)


def test_every_figure_in_bytes_has_a_budget() -> None:
    for name, each in BUDGETS.items():
        assert set(each) == {"what", "goal", "budget"}
        if "bytes" in each["what"]:
            assert isinstance(each["budget"], int), name
