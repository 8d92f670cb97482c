"""The whole site as compose.yaml has it, in containers of this machine's engine.

It changes nothing of that file: the image that a test built, the ports and the project's name are its own variables.
"""

import json
import os
import shutil
import subprocess
from types import TracebackType
from typing import Any, Self

import docker
from docker.models.containers import Container as Running

from gateway.demo.brokers.address import free_ports
from tests.support.paths import ROOT
from tests.support.plain_device import Login
from tests.support.site import HOST, trusting

KINDS = ("password", "certificate")
TIMEOUT_S = 120


def compose_command() -> list[str] | None:
    """`docker compose` where that plugin is there, else the older docker-compose (1.29 and newer); None: neither."""
    plugin = ["docker", "compose"]
    if shutil.which("docker"):
        asked = subprocess.run([*plugin, "version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


class ComposedSite:
    """Up when the context is entered; down, and its volumes gone, when it is left."""

    def __init__(self, command: list[str], image: str, mosquitto_image: str, project: str) -> None:
        self._command = command
        self._project = project
        self.ports = dict(zip(KINDS, free_ports(2, HOST), strict=True))
        self._variables = os.environ | {
            "COMPOSE_PROJECT_NAME": project,
            "GATEWAY_IMAGE": image,
            "SITE_HOST": "localhost",
            "MOSQUITTO_IMAGE": mosquitto_image,
            "PASSWORD_PORT": f"{HOST}:{self.ports['password']}",
            "CERTIFICATE_PORT": f"{HOST}:{self.ports['certificate']}",
        }
        self._engine = docker.from_env()

    def __enter__(self) -> Self:
        try:
            self.compose("up", "-d", "--no-build")
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._down()

    def compose(self, *arguments: str, stdin: bytes = b"") -> str:
        """What the command printed on stdout."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._variables,
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr, self._logs())
        return done.stdout.decode()

    def add(self, kind: str, fleet: str, device: str) -> Login:
        """`devices add`, as on the pages; how the device then connects."""
        options = ["--certificate"] if kind == "certificate" else []
        broker = f"mqtts://localhost:{self.ports[kind]}"
        added = self.compose(
            "run", "--rm", "-T", "devices", "add", fleet, device, "--print", "--broker", broker, *options
        )
        self.compose("kill", "-s", "SIGHUP", "mosquitto")
        board = json.loads(added)
        return Login(board["host"], board["port"], f"{fleet}/{device}", board.get("password"), trusting(board))

    def manager(self, *arguments: str, stdin: bytes = b"") -> str:
        return self.compose("exec", "-T", "manager", "edge-gateway", "manager", *arguments, stdin=stdin)

    def status(self, fleet: str) -> Any:
        """What the manager keeps of the one device of a fleet."""
        (found,) = json.loads(self.manager("status", fleet, "--json"))
        return found

    def containers(self) -> dict[str, Running]:
        """Those of the services, by the service's name."""
        mine = self._engine.containers.list(all=True, filters={"label": f"com.docker.compose.project={self._project}"})
        return {each.labels["com.docker.compose.service"]: each for each in mine}

    def _logs(self) -> dict[str, str]:
        return {name: each.logs(tail=20).decode(errors="replace") for name, each in self.containers().items()}

    def _down(self) -> None:
        command = [*self._command, "down", "--volumes", "--timeout", "5"]
        subprocess.run(command, cwd=ROOT, env=self._variables, capture_output=True, timeout=TIMEOUT_S, check=False)
        self._engine.close()
