"""Python files as syntax trees, for tests that read the project's own code. It must never run what it reads."""

import ast
import gc
from pathlib import Path


def parse(file: Path) -> ast.Module:
    """The file's tree.

    Without the garbage collector: a task of another test that is collected meanwhile may print a traceback, which
    parses too, and CPython 3.11 before 3.11.5 then raises SystemError (gh-106905).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(file.read_text("utf-8"))
    finally:
        if was_on:
            gc.enable()
