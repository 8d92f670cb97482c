"""The examples as programs: what they print, how they say that they are called wrongly, and how Ctrl-C ends them."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.arrivals import DEADLINE_S
from tests.support.paths import ROOT
from tests.support.processes import line, running

from .test_pages import TEN_LINES

EXAMPLES = ROOT / "device_sdk/examples"
WIFI = """
STA_IF = 0
STAT_WRONG_PASSWORD = -3
class WLAN:
    connecting = looked = 0
    def __init__(self, interface): pass
    def active(self, flag): pass
    def isconnected(self):
        self.looked += self.connecting
        return self.looked > 1
    def status(self, what=None): return -50 if what else -3
    def disconnect(self): raise OSError("Wifi Not Connected")
    def connect(self, name, password): self.connecting = 1
"""
MACHINE = """
class WDT:
    fed = 0
    def __init__(self, timeout):
        print("watchdog", timeout)
    def feed(self):
        self.fed += 1
        if self.fed == 2:
            print("fed")
"""


@pytest.fixture
def run(tmp_path, request):
    """Starts a program in an empty folder, under either runtime."""

    def run(*command, runtime="cpython"):
        start = [sys.executable, "-u"] if runtime == "cpython" else [request.getfixturevalue("micropython")]
        path = f"{tmp_path}:{ROOT}"
        environment = {**os.environ, "PYTHONPATH": path, "MICROPYPATH": f"{path}:.frozen"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return running([*start, *map(str, command)], cwd=tmp_path, env=environment, **pipes)

    return run


def ended(process):
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


def board_file(broker, folder):
    where = {"host": "127.0.0.1", "port": broker.port, "fleet": "fleet-a", "device": "dev-1", "password": "any"}
    (folder / "board.json").write_text(json.dumps(where))


def ten_lines(broker, folder):
    text = TEN_LINES.replace('"broker.local"', '"127.0.0.1"').replace('"secret"', f'"secret", {broker.port}')
    (folder / "main.py").write_text(text)


@pytest.mark.parametrize("program", ["ten lines", "provisioned", "host"])
def test_ctrl_c_ends_a_program_without_a_traceback(run, broker, gateway, tmp_path, program):
    if program == "host":
        text = (EXAMPLES / "host.py").read_text()  # it takes no port
        text = text.replace("connect_async(host, ", f"connect_async(host, {broker.port}, ")
        (tmp_path / "main.py").write_text(text)
        command = ["main.py", "127.0.0.1", "fleet-a", "dev-1"]
    elif program == "provisioned":
        board_file(broker, tmp_path)
        command = [EXAMPLES / "provisioned.py"]
    else:
        ten_lines(broker, tmp_path)
        command = ["main.py"]
    with run(*command) as process:
        gateway.wait(lambda channel, value: channel == "hb")
        process.send_signal(signal.SIGINT)
        status, out, err = ended(process)
    assert (status, err) == (130, "")
    assert "connected" in out.splitlines()


def test_ctrl_c_on_micropython_gets_to_the_repl(run, broker, gateway, tmp_path):
    ten_lines(broker, tmp_path)
    with run("main.py", runtime="micropython") as process:
        gateway.wait(lambda channel, value: channel == "hb")
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in "".join(ended(process)[1:])


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_provisioned_py_says_what_is_missing(run, tmp_path, runtime):
    command = EXAMPLES / "provisioned.py"
    said = []
    for arguments in ([], ["a", "b"]):
        with run(command, *arguments, runtime=runtime) as process:
            status, out, err = ended(process)
            assert status == (1 if runtime == "cpython" else 0)
            said.append(out + err)
    usage = "usage: python provisioned.py [FILE], where FILE (board.json) is what this command prints at the site: "
    assert said == [
        text + usage + "edge-gateway devices add FLEET DEVICE --print\n" for text in ("board.json is missing: ", "")
    ]
    (tmp_path / "board.json").write_text("{")
    with run(command, runtime=runtime) as process:
        assert "board.json is no JSON: usage: " in "".join(ended(process)[1:])


def test_the_examples_of_a_host_have_help(run):
    for name, first in (("provisioned.py", "usage: "), ("host.py", "A host as a managed device")):
        with run(EXAMPLES / name, "--help") as process:
            status, out, err = ended(process)
        assert (status, err) == (0, "")
        assert out.startswith(first)
    with run(EXAMPLES / "host.py", "broker") as process:
        assert ended(process) == (2, "usage: python host.py BROKER FLEET DEVICE [PASSWORD]\n", "")


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_board_py_with_wifi_watchdog_and_liveness(run, broker, gateway, tmp_path, runtime):
    names = '"broker.local", "fleet-a", "dev-000001", "secret", '
    text = (EXAMPLES / "board.py").read_text()
    assert names in text
    text = text.replace(names, '"127.0.0.1", "fleet-a", "dev-1", "secret", ').replace(
        "log=print", f"log=print, port={broker.port}"
    )
    (tmp_path / "main.py").write_text(text.replace("gc.mem_free()", "1"))
    (tmp_path / "network.py").write_text(WIFI)
    (tmp_path / "machine.py").write_text(MACHINE)
    with run("main.py", runtime=runtime) as process:
        assert gateway.wait(lambda channel, value: channel == "live") == [1, 60]
        assert gateway.wait(lambda channel, value: channel == "hb")[2] == [[1, 1]]  # of a second ago, without Wi-Fi
        assert line(process, "watchdog") == "watchdog 8000\n"
        assert line(process, "Wi-Fi") == "not connected: no Wi-Fi: wrong password. It is tried again\n"
        while line(process, "fed") != "fed\n":
            pass
