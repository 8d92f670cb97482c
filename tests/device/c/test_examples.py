"""The examples of the C client compile, and the header compiles alone, in two files of one program, and as C++."""

import subprocess
import tomllib

import pytest

from tests.support.arrivals import DEADLINE_S
from tests.support.needs import program
from tests.support.pages import page
from tests.support.paths import ROOT

from .conftest import HEADER, HERE, STRICT

EXAMPLES = HEADER / "examples"
NO_MAIN = '#include "edge_gateway.h"\n'


def compiled(*arguments) -> None:
    done = subprocess.run([*arguments], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_the_posix_example(tmp_path, level):
    compiled(program("gcc"), *STRICT, level, "-I", HEADER, EXAMPLES / "posix.c", "-o", tmp_path / "device")


@pytest.mark.parametrize("compiler", ["gcc", "arm-none-eabi-gcc"])
def test_the_example_of_esp_idf_against_its_declarations(tmp_path, compiler):
    folders = ["-I", HEADER, "-I", HERE / "esp_idf"]
    compiled(program(compiler), *STRICT, "-Os", *folders, "-c", EXAMPLES / "esp_idf.c", "-o", tmp_path / "esp_idf.o")


def test_several_files_of_a_program_include_the_header(tmp_path):
    (tmp_path / "one.c").write_text(f"#define EDGE_GATEWAY_IMPLEMENTATION\n{NO_MAIN}")
    (tmp_path / "two.c").write_text(f'{NO_MAIN}int main(void)\n{{\n    return !eg_text("a").at;\n}}\n')
    sources = [tmp_path / "one.c", tmp_path / "two.c"]
    compiled(program("gcc"), *STRICT, "-I", HEADER, *sources, "-o", tmp_path / "program")
    compiled(tmp_path / "program")


def test_every_public_name_has_the_prefix(tmp_path):
    (tmp_path / "one.c").write_text(f"#define EDGE_GATEWAY_IMPLEMENTATION\n{NO_MAIN}")
    compiled(program("gcc"), "-c", "-I", HEADER, tmp_path / "one.c", "-o", tmp_path / "one.o")
    done = subprocess.run(
        [program("nm"), tmp_path / "one.o"], capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )
    symbols = [line.split()[-2:] for line in done.stdout.splitlines()]
    assert {name for kind, name in symbols if kind == "T" and not name.startswith("eg_")} == set()
    assert {name for kind, name in symbols if kind == "U"} <= {
        "memcpy",
        "memcmp",
        "memset",
        "strlen",
        "__stack_chk_fail",
    }
    assert {name for kind, name in symbols if kind in "BbDdC"} == set(), "global variables"


def test_the_declarations_are_cpp_too(tmp_path):
    (tmp_path / "one.cpp").write_text(NO_MAIN)
    warnings = ["-Wall", "-Wextra", "-Werror"]
    compiler = program("arm-none-eabi-gcc")
    compiled(compiler, "-x", "c++", *warnings, "-I", HEADER, "-c", tmp_path / "one.cpp", "-o", tmp_path / "one.o")


def test_the_lines_on_the_page(tmp_path):
    (block,) = (block for block in page("device_sdk/c/README.md").blocks() if block.language == "c")
    (tmp_path / "page.c").write_text(block.text)
    compiled(program("gcc"), *STRICT, "-I", HEADER, "-c", tmp_path / "page.c", "-o", tmp_path / "page.o")


def test_the_package_has_every_file():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = [path for path in HEADER.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        assert any(path.match(pattern) for pattern in data[package]), path
