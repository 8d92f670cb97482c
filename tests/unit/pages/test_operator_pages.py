"""The tables of the operators' pages are what the code logs, counts and checks: no row is missing or left over."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import log
from gateway.kubernetes import PASSED_OVER
from gateway.manager.metrics import ManagerMetrics
from gateway.ops.metrics import DEPRECATED, Metrics
from tests.support import source
from tests.support.paths import ROOT

GATEWAY = ROOT / "gateway"
MANAGER = GATEWAY / "manager"
DOCTOR = GATEWAY / "doctor"
LEVELS = {name: name for name in ("debug", "info", "warning", "error", "critical")} | {"exception": "error"}
"""Methods of a logger, and the level that they log at."""


def trees(folder: Path) -> dict[Path, ast.Module]:
    """The modules below a folder."""
    return {path: source.parse(path) for path in sorted(folder.rglob("*.py"))}


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the tables whose first column has that heading."""
    found, inside = [], False
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        inside = bool(cells) and (inside or cells[0] == heading)
        if inside and cells[0] != heading and not set(cells[0]) <= {"-"}:
            found.append(cells)
    return found


def first_name(node: ast.expr) -> str | None:
    """`a.b.f` -> "f"."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def scopes(tree: ast.Module) -> Iterator[tuple[ast.Call, list[ast.AST]]]:
    """Each call, with what it is in, the innermost first."""

    def inside(node: ast.AST, around: list[ast.AST]) -> Iterator[tuple[ast.Call, list[ast.AST]]]:
        if isinstance(node, ast.Call):
            yield node, around
        for child in ast.iter_child_nodes(node):
            yield from inside(child, [node, *around])

    return inside(tree, [])


def assigned(scope: ast.AST, name: str) -> list[str]:
    """The literal texts that a scope gives to a name."""
    found = []
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.comprehension | ast.For) and isinstance(node.iter, ast.Tuple):
            pairs = [(node.target, value) for value in node.iter.elts]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                both = list(zip(target.elts, value.elts, strict=True))
            else:
                both = [(target, value)]
            found += [text(each) for one, each in both if isinstance(one, ast.Name) and one.id == name]
    return [each for each in found if each is not None]


def text(node: ast.expr) -> str | None:
    """A literal, with … for what is filled in; None where it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) or "…" for part in node.values)
    return None


def texts(node: ast.expr, around: list[ast.AST]) -> list[str]:
    """A literal, or what a name stands for in the innermost scope that gives it one."""
    literal = text(node)
    if literal is not None:
        return [literal]
    name = first_name(node)
    return next((found for scope in around if name and (found := assigned(scope, name))), [])


def logged(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """File, text and level of each event that the code of a folder logs."""
    modules = trees(folder)
    loggers = {
        name
        for tree in modules.values()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call)
        if first_name(node.value.func) in ("get_logger", "getLogger")
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if (name := first_name(target))
    }
    assert loggers
    for path, tree in modules.items():
        for call, around in scopes(tree):
            method = call.func
            if not isinstance(method, ast.Attribute) or first_name(method.value) not in loggers:
                continue
            if method.attr not in LEVELS:
                continue
            events = texts(call.args[0], around)
            assert events, f"{path}:{call.lineno}: an event must be a literal text"
            yield from ((path, event, LEVELS[method.attr]) for event in events)


def events(manager: bool) -> set[tuple[str, str]]:
    found = {(event, level) for path, event, level in logged(GATEWAY) if path.is_relative_to(MANAGER) is manager}
    return found | {(log.LOST, "warning"), (log.UNRENDERABLE, "error"), (PASSED_OVER, "warning")}


@pytest.mark.parametrize(("page", "manager"), [(GATEWAY / "README.md", False), (MANAGER / "README.md", True)])
def test_the_table_of_log_events_is_that_of_the_code(page: Path, manager: bool) -> None:
    found = {(event.strip("`"), level) for event, level, *_ in rows(page, "event")}
    in_code = events(manager)
    assert (sorted(in_code - found), sorted(found - in_code)) == ([], []), f"rows to add to {page}, rows to take out"


def test_each_log_event_says_what_follows_and_what_to_do() -> None:
    for page in (GATEWAY / "README.md", MANAGER / "README.md"):
        for row in rows(page, "event"):
            assert len(row) == 4, row
            assert all(row), row


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    found = {row[0].strip("`") for row in rows(GATEWAY / "README.md", "metric")}
    families = text_string_to_metric_families(Metrics().render().decode())
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in families}
    old = {row[0].strip("`"): row[1].strip("`") for row in rows(GATEWAY / "README.md", "old name")}
    in_code = {name for name in names if name.startswith("edge_gateway_")}
    assert (sorted(in_code - found - set(old)), sorted((found | set(old)) - in_code)) == ([], []), (
        "rows to add, to take out"
    )
    assert {name.removesuffix("_total"): new.removesuffix("_total") for name, new in old.items()} == {
        f"edge_gateway_{name}": f"edge_gateway_{new}" for name, new in DEPRECATED.items()
    }


def test_the_table_of_the_managers_metrics_is_that_of_the_code() -> None:
    found = {row[0].strip("`") for row in rows(MANAGER / "README.md", "metric")}
    families = text_string_to_metric_families(ManagerMetrics().render().decode())
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in families}
    in_code = {name for name in names if name.startswith("edge_manager_")}
    assert (sorted(in_code - found), sorted(found - in_code)) == ([], []), "rows to add, to take out"


def takes_a_check(node: ast.AST) -> bool:
    """Whether a function's first parameter, or a class's first field, is the name of a check."""
    if isinstance(node, ast.FunctionDef):
        return bool(node.args.args) and node.args.args[0].arg == "check"
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)] if isinstance(node, ast.ClassDef) else []
    return bool(fields) and first_name(fields[0].target) == "check"


def checks() -> set[str]:
    """The names of all checks that the doctor can print a line of."""
    modules = trees(DOCTOR)
    makers = {node.name for tree in modules.values() for node in ast.walk(tree) if takes_a_check(node)}  # type: ignore[attr-defined]
    found: set[str] = set()
    for path, tree in modules.items():
        for call, around in scopes(tree):
            if first_name(call.func) not in makers or not call.args:
                continue
            if any(takes_a_check(scope) for scope in around) and first_name(call.args[0]) == "check":
                continue  # passed on
            names = texts(call.args[0], around)
            if not names and isinstance(call.args[0], ast.Attribute):  # module.NAME
                module, name = first_name(call.args[0].value), call.args[0].attr
                names = [each for path, tree in modules.items() if path.stem == module for each in assigned(tree, name)]
            assert names, f"{path}:{call.lineno}: the name of a check must be a literal text"
            found.update(names)
    return found


def test_the_doctors_page_has_each_check() -> None:
    named = {row[0].strip("`") for row in rows(DOCTOR / "README.md", "check") if row[0]}
    assert len(checks()) > 20
    assert named == checks()


def test_each_line_of_the_doctor_that_is_no_pass_has_a_cure() -> None:
    for row in rows(DOCTOR / "README.md", "check"):
        assert len(row) == 4, row
        assert row[1] in ("PASS", "WARN", "FAIL"), row
        assert (row[1] == "PASS") is not bool(row[3]), row


@pytest.mark.parametrize("page", [GATEWAY / "README.md", MANAGER / "README.md", DOCTOR / "README.md"])
def test_a_table_has_each_first_cell_once(page: Path) -> None:
    for heading in ("event", "metric", "check", "setting"):
        names = [row[0] for row in rows(page, heading) if row[0]]
        assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_tables_are_whole() -> None:
    """A row has as many cells as the head of its table."""
    for page in GATEWAY.rglob("README.md"):
        width = 0
        for line in page.read_text("utf-8").splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1 if line.startswith("|") else 0
            assert width in (0, cells) or cells == 0, (page, line)
            width = cells
