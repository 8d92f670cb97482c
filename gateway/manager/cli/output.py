"""How a command writes what it found: a table for people, or TSV or JSON for programs. Decides nothing else.

A command that takes a `form` gets the option that names one.
"""

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum, auto
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from gateway.manager.cli.tables import Listing

T = TypeVar("T", bound=Mapping[str, Any])


class Form(StrEnum):
    """`TABLE`: for people, also in a pipe."""

    TABLE = auto()
    TSV = auto()
    JSON = auto()


FormOption = Annotated[
    Form,
    typer.Option("--output", "-o", help="A table, or for programs: tsv, or json with times in Unix seconds."),
]
JsonOption = Annotated[bool, typer.Option("--json", hidden=True, help="As -o json.")]
_OPTIONS = [
    inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=Form.TABLE, annotation=FormOption),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption),
]


def takes_form(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the option that names a form in place of its parameter `form`."""

    @functools.wraps(command)
    def run(*args: Any, output: Form, as_json: bool, **options: Any) -> None:
        command(*args, form=Form.JSON if as_json else output, **options)

    signature = inspect.signature(command, eval_str=True)
    own = [each for name, each in signature.parameters.items() if name != "form"]
    run.__signature__ = signature.replace(parameters=[*own, *_OPTIONS])  # type: ignore[attr-defined]
    return run


def is_terminal() -> bool:
    return Console().is_terminal


def write(form: Form, items: Iterable[T], table: Callable[[Iterable[T]], Listing]) -> None:
    """The items, or the rows that `table` makes of them, one after the other: all may be more than the memory."""
    if form is Form.JSON:
        write_json(items)
    elif form is Form.TSV:
        Console().file.writelines(table(items).tsv())
    else:
        table(items).print(Console())


def write_json(items: Iterable[Mapping[str, Any]]) -> None:
    """One JSON array."""
    out, before = Console().file, "["
    for item in items:
        out.write(before + json.dumps(item))
        before = ", "
    out.write("[]\n" if before == "[" else "]\n")
