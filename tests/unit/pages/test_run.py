"""The commands on the pages that need no broker and no service are run, block by block, each in a site of its own.

Those that go on until a signal, the doctor, which needs a running site, and what needs PostgreSQL have tests of their
own in tests/integration and tests/contract.
"""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.manager import Place, open_store
from tests.support import commands, pages
from tests.support.pages import Block
from tests.support.paths import ROOT

NEED_MORE = (["watch"], ["doctor"], ["run"], ["manager", "serve"], ["manager", "migrate"])
MADE = {
    "names.txt": b"dev-3\ndev-4\n",
    "model.tflite": b"a model",
    "beep.wav": b"another",
    "devices.csv": b"fleet-b,dev-7\nfleet-b,dev-8\n",
}


def runs(words: list[str]) -> bool:
    is_elsewhere = "--endpoint-url" in words or "--profile" in words
    return not is_elsewhere and not any(words[: len(each)] == each for each in NEED_MORE)


BLOCKS = [
    block
    for page in pages.pages()
    for block in page.blocks()
    if block.language in commands.LANGUAGES
    and not block.name  # run by tests/integration
    and any(runs(words) for line in commands.lines(block.text, block.language) for words in commands.ours(line))
]


class Sandbox:
    """A site with two devices that the manager knows, in a folder; the paths of a real site lead there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._variables = {"EDGE_SITE": str(folder / "site"), "EDGE_MANAGER_DATA": str(folder / "data")}
        for name, content in MADE.items():
            (folder / name).write_bytes(content)
        conf = (ROOT / "mosquitto/mosquitto.conf").read_text("utf-8")
        (folder / "mosquitto.conf").write_text(conf.replace("/etc/edge-gateway", str(folder / "site")))
        open_store(Place(folder / "data"), create=True).close()  # as `manager serve` makes it
        self.run(["devices", "init", "localhost"])
        self.run(["devices", "add", "fleet-a", "dev-1", "dev-2"])
        (folder / "root").mkdir()
        self.run(["manager", "backup", "/root/edge-manager.tar.gz"])

    def run(self, words: list[str]) -> None:
        here = {"/etc/mosquitto/": f"{self._folder}/", "/dev/stdin": "model.tflite"}
        here |= {each: f"{self._folder}{each}" for each in ("/root/edge-manager", "/var/lib/edge-manager")}
        for shown, path in here.items():
            words = [word.replace(shown, path) for word in words]
        done = CliRunner().invoke(app, words, env=self._variables, input="correct horse battery\n")
        assert done.exit_code == 0, (words, done.output, done.exception)


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    for name in [name for name in os.environ if name.startswith(("GATEWAY_", "EDGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Sandbox(tmp_path)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_of_commands_succeeds(block: Block, sandbox: Sandbox) -> None:
    for line in commands.lines(block.text, block.language):
        for words in commands.ours(line):
            if runs(words):
                sandbox.run(words)
