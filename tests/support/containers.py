"""The shipped files of Mosquitto in a real container.

It must never change more of them than the addresses of the listeners: a published port does not reach a container's
loopback.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin, both_listeners_answer
from gateway.demo.brokers.mosquitto import RELOADED, SHIPPED, UserFiles, with_site_lines
from tests.support.arrivals import DEADLINE_S

GATEWAY_PORT = 1884
DEVICE_PORT = 1883
LOOPBACK = "127.0.0.1"


class Container:
    """Mosquitto from `image`; `directory` holds what it sees as /etc/mosquitto."""

    def __init__(self, image: str, directory: Path) -> None:
        self._directory = directory
        # The account of the container is another than ours, and so must be let in.
        directory.chmod(0o755)
        for folder in ("broker", "listeners"):
            (directory / folder).mkdir()
            (directory / folder).chmod(0o755)
        self._users = UserFiles(directory / "broker", mode=0o644)
        self._users.add_users(("gateway", "operator"))
        self._address: BrokerAddress | None = None
        self._container = (
            DockerContainer(image)
            .with_command("/usr/sbin/mosquitto -c /etc/mosquitto/mosquitto.conf")
            .with_volume_mapping(str(directory), "/etc/mosquitto", "ro")
            .with_volume_mapping(str(directory / "broker"), "/etc/edge-gateway/broker", "ro")
            .with_tmpfs_mount("/var/lib/mosquitto", "mode=1777")
            .waiting_for(LogMessageWaitStrategy("running").with_startup_timeout(int(DEADLINE_S)))
        )
        # An engine of this machine publishes on loopback alone, on ports that it chooses; another one where it likes.
        engine = self._container.get_docker_client().host()
        self._host = LOOPBACK if engine in ("localhost", LOOPBACK) else engine
        for port in (GATEWAY_PORT, DEVICE_PORT):
            self._container.ports[str(port)] = (LOOPBACK, None) if self._host == LOOPBACK else None  # type: ignore[assignment]

    @property
    def address(self) -> BrokerAddress:
        """Raises RuntimeError before it was started: Docker chooses the ports."""
        if self._address is None:
            raise RuntimeError("the container was not started")
        return self._address

    @property
    def log(self) -> str:
        stdout, stderr = self._container.get_logs()
        return (stdout + stderr).decode(errors="replace")

    def __enter__(self) -> Self:
        everywhere = {f"listener {port}": f"listener {port}" for port in (GATEWAY_PORT, DEVICE_PORT)}
        conf = with_site_lines((SHIPPED / "mosquitto.conf").read_text(), everywhere)
        (self._directory / "mosquitto.conf").write_text(conf)
        try:
            self._container.start()
            self._address = self._published()
            self._wait(lambda: both_listeners_answer(self.address), "does not answer")
        except BaseException:
            self._container.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._container.stop()

    def add_user(self, user: str) -> BrokerLogin:
        return self.add_users((user,))[user]

    def add_users(self, users: Iterable[str]) -> dict[str, BrokerLogin]:
        wanted = tuple(users)
        if self._users.add_users(wanted):
            before = self.log.count(RELOADED)
            self._container.get_wrapped_container().kill("SIGHUP")
            self._wait(lambda: self.log.count(RELOADED) > before, "did not reload its users")
            # Its one thread answers nobody before it has read all, and a signal that comes meanwhile is lost.
            self._wait(lambda: both_listeners_answer(self.address), "did not answer after it reloaded its users")
        return {user: self._users[user] for user in wanted}

    def _published(self) -> BrokerAddress:
        version = self.log.partition("mosquitto version ")[2].split(" ", 1)[0]
        return BrokerAddress(
            kind=f"mosquitto {version} in a container",
            host=self._host,
            gateway_port=int(self._container.get_exposed_port(GATEWAY_PORT)),
            device_port=int(self._container.get_exposed_port(DEVICE_PORT)),
            gateway=self._users["gateway"],
            operator=self._users["operator"],
            has_acl=True,
            keeps_data=False,
        )

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the container {otherwise} within {DEADLINE_S:g} s. Its log:\n{self.log}")
            time.sleep(0.05)
