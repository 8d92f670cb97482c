"""What the pages have users do with a board, done as it is written there: the ten lines, the first board by mpremote,
and what it says on the desk.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import msgpack
import pytest

from device_sdk import mpy
from device_sdk.agent import Agent
from device_sdk.heartbeat import Packer
from tests.support import commands, pages
from tests.support.arrivals import DEADLINE_S
from tests.support.paths import DEVICE_TESTS, ROOT
from tests.support.processes import line, running

PAGE = "device_sdk/README.md"
MODEL = b"a model" * 100
TEN_LINES = pages.block("ten_lines.py", PAGE)
# The unix port has no Wi-Fi.
NETWORK = """
STA_IF = 0
class WLAN:
    def __init__(self, interface): pass
    def active(self, flag): pass
    def connect(self, name, password): pass
    def isconnected(self): return True
"""


@pytest.fixture(params=["cpython", "micropython"])
def board(request, broker, tmp_path):
    """Runs the ten lines against the broker of the test; only its address is another."""
    text = TEN_LINES.replace('"broker.local"', '"127.0.0.1"').replace('"secret"', f'"secret", {broker.port}')
    (tmp_path / "main.py").write_text(text)
    command = [sys.executable] if request.param == "cpython" else [request.getfixturevalue("micropython")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": str(ROOT)}
    with running([*command, "main.py"], cwd=tmp_path, env=environment):
        yield tmp_path


def test_there_are_ten():
    assert len([line for line in TEN_LINES.splitlines() if line.strip()]) <= 10


def test_they_are_the_same_on_each_page():
    (shown,) = [block.text for block in pages.page("README.md").blocks() if block.language == "python"]
    assert shown == TEN_LINES


def test_they_make_a_managed_device(gateway, board):
    assert gateway.wait(lambda channel, value: channel == "hello")[1][1] == [["room", "temperature", -1]]
    assert gateway.wait(lambda channel, value: channel == "hb")[2:5] == [[213], None, 0]
    checksum = hashlib.sha1(MODEL, usedforsecurity=False).digest()
    gateway.publish("plan", [7, [["deploy-7", 0, [["kws", 1, checksum], ["old", 0]]]]], retain=True)
    assert gateway.wait(lambda channel, value: channel == "read")[:3] == [7, 0, 0]
    gateway.publish("block", [7, 0, 0, len(MODEL), MODEL])
    result = gateway.wait(lambda channel, value: channel == "hb" and len(value) > 5)[5]
    assert (result[0], result[1]) == ("deploy-7", "SUCCESS")
    assert (board / "kws").read_bytes() == MODEL


def test_the_samples_are_taken_as_the_page_says():
    names = {}
    exec(pages.block("samples.py", PAGE), names)
    agent = Agent(names["layout"], measure=names["measure"])
    packer = Packer(512, 0)
    agent.start(100, None, 7, False, packer)
    assert agent.poll(100, packer) == "hello"
    agent.sent("hello")
    assert agent.poll(100, packer) == "hb"
    beat = msgpack.unpackb(packer.buf[: packer.pos])
    assert beat[2:4] == [[213, [187, 5], 47], [[0, 0, [12]]]]


def test_the_sleeper_sleeps_as_the_page_says():
    example = (ROOT / "device_sdk/examples/sleeper.py").read_text()
    assert example.endswith(pages.block("sleep.py", PAGE))


class Desk:
    """A clone of the repository as the page's reader has it, with the files that they write, and their board."""

    def __init__(self, folder, micropython, cross, broker):
        self.micropython = micropython
        self.clone = folder / "clone"
        self.board = folder / "board"
        self.clone.mkdir()
        self.board.mkdir()
        (self.clone / "device_sdk").symlink_to(ROOT / "device_sdk")
        mpy.compile_to(self.clone / "build" / "mpy", cross)  # make mpy
        for name in ("boot.py",):
            (self.clone / name).write_text(pages.block(name, PAGE))
        where = {"host": "127.0.0.1", "port": broker.port, "fleet": "fleet-a", "device": "dev-1", "password": "any"}
        (self.clone / "board.json").write_text(json.dumps(where))
        (self.board / "network.py").write_text(NETWORK)

    def mpremote(self, *arguments):
        """The command that runs mpremote on this board."""
        script = str(DEVICE_TESTS / "host" / "mpremote_to_folder.py")
        return [sys.executable, script, self.micropython, str(self.board), *arguments]

    def follow_the_page(self):
        """Its mpremote lines, up to the reset."""
        for block in pages.page(PAGE).blocks():
            for each in commands.lines(block.text) if block.language in commands.LANGUAGES else ():
                if each.startswith("mpremote "):
                    arguments = each.split()[1:]
                    done = subprocess.run(
                        self.mpremote(*arguments), cwd=self.clone, capture_output=True, text=True, timeout=DEADLINE_S
                    )
                    assert done.returncode == 0, (each, done.stdout, done.stderr)
                    if arguments == ["reset"]:
                        return


@pytest.fixture
def desk(tmp_path, micropython, cross, broker):
    desk = Desk(tmp_path, micropython, cross, broker)
    desk.follow_the_page()
    return desk


def test_the_first_board_sends_heartbeats(desk, gateway):
    environment = os.environ | {"MICROPYPATH": f":{desk.board}/lib:.frozen"}
    boot = "import boot; exec(open('main.py').read(), {'__name__': '__main__'})"
    with running([desk.micropython, "-c", boot], cwd=desk.board, env=environment):
        assert gateway.wait(lambda channel, value: channel == "hello")[1][0] == "provisioned 1.0"
        assert gateway.wait(lambda channel, value: channel == "hb")[2][0] > 0


def test_on_the_desk_it_says_what_the_page_says_of_a_board_for_which_all_is_well(desk, gateway, broker):
    said = pages.block("well.txt", PAGE).replace("broker.local:8883", f"127.0.0.1:{broker.port}")
    command = desk.mpremote("run", "device_sdk/examples/provisioned.py")
    with running(command, cwd=desk.clone, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            seq = gateway.wait(lambda channel, value: channel == "hb")[6]
            gateway.publish("ack", [seq, 0, int(time.time())])
            for expected in said.splitlines():
                assert line(process, expected) == expected + "\n"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the board too


def test_each_line_that_the_page_explains_is_one_of_the_log():
    source = (ROOT / "device_sdk/log.py").read_text()
    rows = pages.page(PAGE).table("When nothing arrives")
    quoted = [text for row in rows for text in re.findall("`([^`]+)`", row[0])]
    assert len(quoted) > 9
    assert [text for text in quoted if text not in source] == []
