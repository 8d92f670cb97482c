"""gateway/ARCHITECTURE.md names nothing that is not there, and leaves out no package and no effect.

What is in code font is a path, a test, a setting, or a name of the code. In diagrams, a message is a method of the one
who gets it, and a name in capitals and small letters is a class.
"""

import ast
import re
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import get_args

import pytest

from gateway.config import Settings
from gateway.config.settings import ENV_PREFIX
from gateway.core.effects import Effect
from gateway.protocol.topics import Channel
from tests.support import pages, source
from tests.support.paths import ROOT

NAME = "gateway/ARCHITECTURE.md"
PAGE = pages.page(NAME)
GATEWAY = ROOT / "gateway"
BROKER = ROOT / "mosquitto/mosquitto.conf"
MEMBERS = {"have"}
"""Fields of messages that are named alone, as the protocol page names them."""
MESSAGE = re.compile(r"^(\w+)-?->>(\w+): (\w+)\(")
CLASS = re.compile(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b")
WITH_UNDERSCORE = re.compile(r"\b[A-Za-z]+(?:_[A-Za-z]+)+\b")
MEMBER = re.compile(r"\b([A-Za-z]\w+)\.(\w+)\b")


@dataclass
class Names:
    """What gateway/ and device_sdk/ define. `modules`: by their last name; `texts`: literals."""

    classes: dict[str, set[str]] = field(default_factory=dict)
    modules: dict[str, set[str]] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)

    @property
    def top(self) -> set[str]:
        """Of all modules."""
        return set().union(*self.modules.values())


def targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return [each for one in node.targets for each in (one.elts if isinstance(one, ast.Tuple) else [one])]
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def defined(body: list[ast.stmt]) -> set[str]:
    """The functions, classes and variables of a module's or a class's body."""
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    variables = {each.id for node in body for each in targets(node) if isinstance(each, ast.Name)}
    return variables | {node.name for node in body if isinstance(node, named)}


def members(node: ast.ClassDef) -> set[str]:
    """With the attributes that its methods set."""
    attributes = [each for inner in ast.walk(node) for each in targets(inner) if isinstance(each, ast.Attribute)]
    return defined(node.body) | {each.attr for each in attributes if ast.unparse(each.value) == "self"}


@cache
def names() -> Names:
    found = Names()
    for file in [*GATEWAY.rglob("*.py"), *(ROOT / "device_sdk").rglob("*.py")]:
        tree = source.parse(file)
        found.modules.setdefault(file.stem, set()).update(defined(tree.body))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.classes.setdefault(node.name, set()).update(members(node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.texts.add(node.value)
    return found


def is_member(owner: str, name: str) -> bool:
    """Of a class, of a module of ours, or of Python's."""
    found = names()
    if owner in found.classes or owner in found.modules:
        return name in found.classes.get(owner, ()) or name in found.modules.get(owner, ())
    return owner in sys.stdlib_module_names and hasattr(import_module(owner), name)


def is_test(span: str) -> bool:
    path, _, name = span.partition("::")
    return (ROOT / path).is_file() and name in defined(source.parse(ROOT / path).body)


def exists(span: str) -> bool:
    """Whether what the page writes in code font is there."""
    if "::" in span:
        return is_test(span)
    if span.startswith("make "):
        return re.search(rf"^{span[5:]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE) is not None
    if "/" in span or (GATEWAY / span).is_file() or (ROOT / span).is_file():
        return (GATEWAY / span).exists() or (ROOT / span).exists()
    if match := MEMBER.fullmatch(span):
        return is_member(*match.groups()) or span in names().texts
    if span in Settings.model_fields or span in set(Channel) or span in MEMBERS or span in names().classes:
        return True
    return span in names().top or re.search(rf"^{span} ", BROKER.read_text("utf-8"), re.MULTILINE) is not None


def wrong_in(diagram: str) -> list[str]:
    """What a diagram names that is not there."""
    found = names()
    known = dict.fromkeys(each.lower() for each in found.top.union(*found.classes.values()))
    lines = [line.strip() for line in diagram.splitlines()]
    states = re.findall(r"(\w+) -->", diagram)
    wrong = [word for line in lines for word in CLASS.findall(line) if word not in {*found.classes, *states}]
    for line in lines:
        if line.startswith("participant ") and line.split()[1] not in {"Broker", *found.classes, *found.modules}:
            wrong.append(line)
        match = MESSAGE.match(line)
        if match and not is_member(match[2], match[3]):
            wrong.append(line)
        wrong += [f"{owner}.{name}" for owner, name in MEMBER.findall(line) if not is_member(owner, name)]
        words = WITH_UNDERSCORE.findall(re.sub(r"\(.*\)", "", line))
        wrong += [word for word in words if word.removeprefix(ENV_PREFIX).lower() not in Settings.model_fields | known]
    return wrong


def spans(text: str = PAGE.text) -> set[str]:
    """What is in code font, outside of blocks."""
    return set(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)))


def test_every_name_on_the_page_is_there() -> None:
    assert len(spans()) > 150
    assert sorted(span for span in spans() if not exists(span)) == []


def test_every_name_in_a_diagram_is_there() -> None:
    diagrams = [block.text for block in PAGE.blocks() if block.language == "mermaid"]
    kinds = ["flowchart TD", *["sequenceDiagram"] * 6, *["stateDiagram-v2"] * 5]
    assert [text.splitlines()[0] for text in diagrams] == kinds
    assert [each for text in diagrams for each in wrong_in(text)] == []


@pytest.mark.parametrize(
    "span",
    [
        *(
            "Engine.recieve",
            "EngineOfOld",
            "core/motor.py",
            "MAX_OLD",
            "decisions.next_stage",
            "intake_packets",
            "make x",
        ),
        *("tests/unit/core/test_engine.py::test_old", "tests/unit/core/test_old.py::test_old", "os.leave"),
    ],
)
def test_a_name_that_is_not_there_is_found(span: str) -> None:
    assert not exists(span)


@pytest.mark.parametrize(
    "line",
    [
        *("A->>Engine: recieve(message)", "participant motor", "Note over Engine: PlanState.must", "A-->>B: CallOfOld"),
        *("Note over Engine: old_name", "Open --> Closed: MAX_OLD devices fail"),
    ],
)
def test_a_line_of_a_diagram_that_is_wrong_is_found(line: str) -> None:
    assert wrong_in(f"sequenceDiagram\n    {line}\n")


def test_the_table_of_effects_has_each_effect() -> None:
    rows = PAGE.table("Effects")
    assert rows is not None
    assert [row[0].strip("`") for row in rows] == [effect.__name__ for effect in get_args(Effect)]


def test_every_package_and_module_beside_them_has_its_line() -> None:
    packages = [path.parent for path in GATEWAY.rglob("__init__.py") if path.parent != GATEWAY]
    modules = [path for path in GATEWAY.glob("*.py") if path.name != "__init__.py"]
    wanted = {f"{path.relative_to(GATEWAY)}/" for path in packages} | {path.name for path in modules}
    about_packages = PAGE.text.split("\n## ")[1]
    assert wanted - spans(about_packages) == set()


def test_the_glossary_is_in_order_and_has_each_word_once() -> None:
    rows = PAGE.table("Glossary")
    assert rows is not None
    words = [row[0] for row in rows]
    assert words == sorted(set(words))


def test_the_page_is_short() -> None:
    assert len(PAGE.text.encode()) < 29_000
