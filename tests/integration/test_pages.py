"""The session by hand of device_sdk/README.md, and what pages ask of the servers, run as it is written there.

Only ports and folders are others.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.demo.brokers.address import free_ports
from tests.support import commands, pages
from tests.support.arrivals import Arrivals
from tests.support.needs import program
from tests.support.paths import ROOT
from tests.support.polling import until
from tests.support.processes import end, running

PAGE = "device_sdk/README.md"
TOPIC = "edge/fleet-a/dev-1"


class Session:
    """The page's terminals."""

    def __init__(self, folder: Path) -> None:
        for name in ("mosquitto", "mosquitto_pub", "curl"):
            program(name)
        (folder / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
        self._folder = folder
        self._broker, self._manager, self._status = free_ports(3)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GATEWAY_", "EDGE_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "PYTHONPATH": str(ROOT),
            "GATEWAY_MQTT_URL": f"mqtt://127.0.0.1:{self._broker}",
            "GATEWAY_HTTP_PORT": str(self._status),
            "GATEWAY_STATE_DIR": str(folder / "state"),
            "EDGE_MANAGER_PORT": str(self._manager),
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        self.received: Arrivals[str] = Arrivals("line of edge-gateway watch")

    def shell(self, text: str) -> list[str]:
        """The command that runs it."""
        for shown, here in (
            ("mosquitto -p 1883", f"mosquitto -p {self._broker}"),
            ("127.0.0.1:9470", f"127.0.0.1:{self._manager}"),
            ("127.0.0.1:9464", f"127.0.0.1:{self._status}"),
            ("mosquitto_pub ", f"mosquitto_pub -p {self._broker} "),
            (".venv/bin/edge-gateway ", f"{sys.executable} -m gateway "),
        ):
            text = text.replace(shown, here)
        return ["bash", "-euo", "pipefail", "-c", text]

    @property
    def options(self) -> dict[str, object]:
        return {"cwd": self._folder, "env": self._environment}

    def run(self, line: str) -> str:
        done = subprocess.run(
            self.shell(line), cwd=self._folder, env=self._environment, capture_output=True, timeout=29
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout.decode()

    def is_ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self._status}/readyz", timeout=5) as page:
            return bool(page.status == 200)
        return False

    def listens(self) -> bool:
        """Whether what somebody publishes arrives."""
        self.run(f"mosquitto_pub -t {TOPIC}/block -m sentinel")
        return bool(self.received.so_far())

    def read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.received.put(line.rstrip())


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """With the servers and the listener up."""
    session = Session(tmp_path)
    servers = session.shell(pages.block("servers", PAGE) + "wait")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(servers, **session.options, stdout=log, stderr=log, start_new_session=True)  # type: ignore[call-overload]
    try:
        until(session.is_ready, lambda: (tmp_path / "log").read_text())
        with running(session.shell(pages.block("listen", PAGE)), **session.options, stdout=subprocess.PIPE) as listener:
            reader = threading.Thread(target=session.read, args=(listener,))
            reader.start()
            until(session.listens, lambda: "nothing arrives")
            yield session
            listener.kill()
            reader.join()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        end(process)


def test_the_device_by_hand(session: Session) -> None:
    shown = ""
    for line in commands.lines(pages.block("device", PAGE)):
        shown = session.run(line)
        if "--channel hb" in line:
            session.received.next(lambda each: "▶ fleet-a/dev-1 hb    sys/temperature 36.5, tag 7" in each)
            session.received.next(lambda each: "◀── fleet-a/dev-1 ack   seq 1, code 0 (accepted)" in each)
        if "--channel get" in line:
            session.received.next(lambda each: "ack   seq 200, code 0" in each)
            session.received.next(lambda each: "plan  digest " in each and "handle wake-word" in each)
        if "-m 36.5" in line:
            session.received.next(lambda each: "ack   code 1 (malformed)" in each)
            session.received.next(lambda each: each.endswith(f"dead  refused payload: {b'36.5'.hex()}"))
    assert "36.5" in shown


ASKING = [
    (block.place, line)
    for page in pages.pages()
    for block in page.blocks()
    if block.language in commands.LANGUAGES and not block.name  # those with a name have tests of their own
    for line in commands.lines(block.text, block.language)
    if line.split()[0] in ("aws", "curl") and not line.startswith("aws s3 ")  # which asks where the environment says
]


def test_the_servers_answer_what_pages_ask(session: Session) -> None:
    assert len(ASKING) >= 5
    session.run(".venv/bin/edge-gateway manager register fleet-a dev-1")
    session.run(".venv/bin/edge-gateway manager deploy fleet-a dev-1 wake-word=LICENSE")
    key = ""
    for place, line in ASKING:
        answer = session.run(line.replace("--key KEY", f"--key {key}"))
        assert answer.strip(), (place, line)
        if "get-deployments" in line:
            key = json.loads(answer)["Deployments"][0]["Definitions"][0]["S3Url"].removeprefix("s3://models/")
