"""Every command line on every page: what it names exists, and our own commands take its options.

Those that a test also runs: tests/integration/test_pages.py, tests/integration/test_edge_manager_flow.py and
tests/device/host/test_pages.py.
"""

import pytest

from tests.support import commands, pages
from tests.support.commands import Wrong

PAGES = pages.pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_right(page: pages.Page) -> None:
    known = commands.Workspace({block.name for block in page.blocks()})
    mistakes = []
    for block in page.blocks():
        if block.language in commands.LANGUAGES:
            for line in commands.lines(block.text, block.language):
                try:
                    commands.check(line, known)
                except Wrong as error:
                    mistakes.append(f"{block.place}: {error}")
    assert mistakes == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_is_in_a_block_without_a_check(page: pages.Page) -> None:
    found = [
        f"{block.place}: {line}"
        for block in page.blocks()
        if block.language not in commands.LANGUAGES
        for line in block.text.splitlines()
        if line.removeprefix("$ ").split(" ")[0].rpartition("/")[2] in commands.CHECKS
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_language_that_is_known(page: pages.Page) -> None:
    known = {"", "text", "json", "toml", "yaml", "mermaid", "python", "c", *commands.LANGUAGES}
    assert [block.place for block in page.blocks() if block.language not in known] == []
    for block in page.blocks():
        if block.language == "python":
            compile(block.text, block.place, "exec")


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("edge-gateway doctor --confg x", "No such option: --confg"),
        ("edge-gateway manager deploi", "No such command 'deploi'"),
        ("edge-gateway manager status fleet-a dev-1", "unexpected extra argument"),
        ("make tset", "no target tset"),
        ("make demo ARGS=--kep", "--kep"),
        ("cp gateway/none.service /etc", "there is no gateway/none.service"),
        ("cp -r mosquitto/mosquitto.conf mosquitto/listeners /etc/mosquitto/", "cp overwrites without a word"),
        ("docker compose run --rm docter", "no service docter"),
        ("docker compose exec -T manager edge-gateway manager sattus", "No such command 'sattus'"),
        ("mpremote cpy a :a", "no command cpy"),
        ("mpremote cp none.py :none.py", "there is no none.py"),
        ("systemctl restart mosquito", "no unit mosquito"),
        ("GATEWAY_INTAK=1 edge-gateway run", "nothing reads the variable GATEWAY_INTAK"),
        ("true && nonesuch", "no check knows"),
        ("edge-gateway run | nonesuch", "no check knows"),
    ],
)
def test_a_wrong_command_is_found(line: str, mistake: str) -> None:
    with pytest.raises(Wrong, match=mistake):
        commands.check(line, commands.Workspace())


def test_lines_that_go_on_are_one() -> None:
    assert list(commands.lines("a \\\n  b  # c\n# d\n\ne |\n  f\n")) == ["a    b", "e |   f"]
    assert list(commands.lines("$ a\nits output\n$ b\n", "console")) == ["a", "b"]
