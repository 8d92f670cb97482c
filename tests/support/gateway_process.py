"""The gateway as its own process, as an operator starts it, with its log awaited line by line.

It must never read this process's AWS or GATEWAY settings, and never outlive the test that started it.
"""

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from gateway.demo.brokers.address import BrokerAddress
from tests.support.arrivals import DEADLINE_S, Arrivals
from tests.support.paths import ROOT
from tests.support.polling import until
from tests.support.processes import environment

COMMAND = [sys.executable, "-m", "gateway", "run"]
READY = "connected and subscribed"
CALLS_REJECTED = (
    "Edge Manager rejects our calls (credentials, permissions or endpoint); messages stay queued at the broker"
)


def settings(address: BrokerAddress, service: str, fleets: str, state: Path, **more: object) -> dict[str, str]:
    """The environment of a gateway that serves `fleets` alone, and is quick in what it would do slowly in a plant."""
    user, password = quote(address.gateway.user, safe=""), quote(address.gateway.password, safe="")
    ours = {
        "mqtt_url": f"mqtt://{user}:{password}@{address.host}:{address.gateway_port}",
        "fleets": fleets,
        "client_id": f"gateway-of-{fleets.split(',')[0]}",
        "state_dir": state,
        "http_port": 0,
        "log_format": "json",
        "retry_base": 0.05,
        "retry_cap": 0.2,
        "hello_wait": 0.4,
        "device_rate": 10_000,
        "block_expiry": 60 if address.drops_properties else 0,
    } | more
    aws = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
    ours_by_name = {f"GATEWAY_{name.upper()}": str(value) for name, value in ours.items()}
    return environment(AWS_ENDPOINT_URL_SAGEMAKER_EDGE=service, **aws, **ours_by_name)


class GatewayProcess:
    """One gateway: started, killed and started again with the same settings. Leaving the context ends it."""

    def __init__(self, variables: dict[str, str], command: Sequence[str] = COMMAND) -> None:
        self._variables = variables
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.log: Arrivals[dict[str, Any]] = Arrivals("line of the gateway's log")
        self._pages = ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        """Return once it is connected and subscribed."""
        self.launch()
        self.wait_for_log(READY)

    def launch(self) -> None:
        """Start the process; its first line is its status pages' URL."""
        assert self._process is None
        self._process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=self._variables, stdin=subprocess.DEVNULL
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        self._pages = self.wait_for_log("status pages served")["url"]

    def wait_for_log(self, event: str) -> dict[str, Any]:
        """Wait for a line of the log, and take it."""
        return self.log.next(lambda line: line["event"] == event)

    def kill(self) -> None:
        """kill -9."""
        self._running.kill()
        self.wait()

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.send_sigterm()
        return self.wait()

    def send_sigterm(self) -> None:
        """SIGTERM, without waiting."""
        self._running.terminate()

    def suspend(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay open."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._running.send_signal(signal.SIGCONT)

    @property
    def pages(self) -> str:
        """The URL of its status pages, with a last slash."""
        return self._pages

    @property
    def pid(self) -> int:
        return self._running.pid

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels, as they are written there."""
        with urllib.request.urlopen(self._pages + "metrics", timeout=DEADLINE_S) as page:
            lines = page.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix("edge_gateway_"): float(value) for name, value in pairs}

    def readiness(self) -> tuple[int, list[str]]:
        """The status of /readyz, and its reasons."""
        try:
            page = urllib.request.urlopen(self._pages + "readyz", timeout=DEADLINE_S)
        except urllib.error.HTTPError as error:
            page = error
        with page:
            return page.status, json.loads(page.read())["reasons"]

    def until_metric(self, name: str, value: float) -> None:
        until(lambda: self.metrics().get(name) == value, lambda: f"{name} is {self.metrics().get(name)}, not {value}")

    @property
    def _running(self) -> "subprocess.Popen[str]":
        assert self._process is not None, "it does not run"
        return self._process

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        for line in process.stderr:
            is_json = line.startswith("{")
            self.log.put(json.loads(line) if is_json else {"event": line.rstrip(), "level": "not JSON"})

    def wait(self) -> int:
        """Wait for its end; the exit status."""
        process, reader = self._running, self._reader
        assert reader is not None
        status = process.wait(DEADLINE_S)
        reader.join(DEADLINE_S)
        assert process.stderr is not None
        process.stderr.close()
        self._process = None
        return status
