"""A real `serve` process on a free port, and the clients that AWS's users have: boto3 and awscli."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.arrivals import DEADLINE_S
from tests.support.processes import end, environment, line

ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
COMMAND = [sys.executable, "-c", "from gateway.manager.cli import app; app()"]


@dataclass
class Manager:
    """One data directory, and at most one process that serves it. `database`: the URL of a PostgreSQL."""

    data: Path
    options: list[str] = field(default_factory=list)
    database: str | None = None
    process: subprocess.Popen[str] | None = None
    url: str = ""
    console: str | None = None

    def start(self) -> None:
        """Returns once the process listens, which its first line says."""
        arguments = [*COMMAND, "serve", "--data", str(self.data), "--port", "0", *self.options]
        with (self.data.parent / "log").open("a") as log:
            self.process = subprocess.Popen(
                arguments, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment()
            )
        first = json.loads(line(self.process, "URL of the manager") or '{"event": "the end"}')
        assert first["event"] == "listening", f"{first}; {(self.data.parent / 'log').read_text()}"
        self.url, self.console = first["url"], first["console"]

    def end(self, number: signal.Signals) -> int:
        """The exit status of the process; minus the signal where it died of it."""
        assert self.process is not None
        process, self.process = self.process, None
        try:
            process.send_signal(number)
            return process.wait(DEADLINE_S)
        finally:
            end(process)

    def stop(self) -> None:
        """End it where it still runs."""
        if self.process is not None:
            process, self.process = self.process, None
            process.terminate()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                pass
            end(process)

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """One command on the data directory."""
        command, where = [*COMMAND, *arguments], self._environment()
        done = subprocess.run(command, capture_output=True, text=True, env=where, timeout=DEADLINE_S)
        assert done.returncode == status, done.stderr
        return done

    def _environment(self) -> dict[str, str]:
        database = {} if self.database is None else {"EDGE_MANAGER_DATABASE": self.database}
        return environment(EDGE_MANAGER_DATA=str(self.data), **database)

    def page(self, path: str) -> int:
        """The status of a page."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    @property
    def log(self) -> str:
        """So far: another thread of the manager writes it, so a line may come after what it tells of."""
        return (self.data.parent / "log").read_text()

    def status(self) -> Any:
        return json.loads(self.run("status", "--json").stdout)

    def state_of(self, fleet: str) -> dict[str, Any]:
        """What `status` says of the one device of a fleet."""
        (report,) = [each for each in self.status() if each["fleet"] == fleet]
        return dict(report)

    def client(self, service: str, access: str = ACCESS, secret: str = SECRET) -> Any:
        """A plain boto3 client that tries once."""
        return boto3.Session().client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=DEADLINE_S, read_timeout=DEADLINE_S),
        )

    def aws(self, *arguments: str, secret: str = SECRET) -> subprocess.CompletedProcess[str]:
        """One call of awscli, which is installed beside the interpreter."""
        keys = environment(AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=secret, AWS_DEFAULT_REGION="eu-west-1")
        command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", self.url, "--output", "json", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=keys, timeout=DEADLINE_S)
