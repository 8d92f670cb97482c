"""A site as an operator makes it: `edge-gateway devices init` and `add`, and a Mosquitto with all shipped listeners.

Of the shipped files it changes the SITE lines alone: ports, addresses, paths, the account.
"""

import json
import os
import re
import signal
import socket
import ssl
from base64 import b64decode
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, Self

from paho.mqtt.enums import MQTTProtocolVersion
from typer.testing import CliRunner, Result

from gateway.demo.brokers.address import BrokerLogin, free_ports
from gateway.demo.brokers.mosquitto import RELOADED, SHIPPED, with_site_lines
from gateway.demo.brokers.process import ManagedProcess
from gateway.mqtt.probe import MQTT_3_1_1, speaks_mqtt
from gateway.provisioning import password_file
from gateway.provisioning.certificate_authority import NOT_AFTER, CertificateAuthority, Identity
from gateway.provisioning.cli import app
from gateway.provisioning.site import Site
from tests.support import mqtt_packets
from tests.support.arrivals import DEADLINE_S
from tests.support.mqtt_client import Client, connected, connecting

HOST = "127.0.0.1"
TLS_LISTENERS = ("password", "certificate", "gateway")
"""The shipped listeners with TLS, as their files are called."""
PATHS = ("cafile", "certfile", "keyfile", "crlfile")
PORTS = {"gateway-loopback": 1884, "plain": 1883, "password": 8883, "certificate": 8884, "gateway": 8885}
"""Every listener and its shipped port."""


def devices(site: Path, *arguments: str) -> Result:
    """One command on a site without a manager."""
    options = ["--site", str(site)] + ([] if arguments[0] in ("init", "convert") else ["--no-register"])
    return CliRunner().invoke(app, [*arguments, *options])


@dataclass(frozen=True, slots=True)
class Login:
    """How a client connects to a listener. `tls` None: without TLS."""

    port: int
    credentials: BrokerLogin | None
    tls: ssl.SSLContext | None = None

    def connecting(
        self, client_id: str, protocol: MQTTProtocolVersion, will: tuple[str, bytes] | None = None
    ) -> AbstractContextManager[Client]:
        return connecting(HOST, self.port, self.credentials, client_id, protocol, False, self.tls, will)

    def connected(
        self, client_id: str, protocol: MQTTProtocolVersion, session: bool = False
    ) -> AbstractContextManager[Client]:
        return connected(HOST, self.port, self.credentials, client_id, protocol, session, self.tls)

    def is_refused(self, level: int = MQTT_3_1_1) -> bool:
        """Whether TLS or the broker says no to a CONNECT: with TLS 1.3 a handshake that ended well says nothing."""
        user, password = (self.credentials.user, self.credentials.password) if self.credentials else (None, None)
        connect = mqtt_packets.connect("any", user, password, 10, level)
        try:
            with self._open() as connection:
                connection.sendall(connect)
                answer = connection.recv(4)
        except OSError:
            return True
        assert not answer or answer[0] == 0x20, answer
        return answer[3:4] != b"\0"

    def _open(self) -> socket.socket:
        connection = socket.create_connection((HOST, self.port), 5)
        return connection if self.tls is None else self.tls.wrap_socket(connection, server_hostname="localhost")


class SiteBroker:
    """A Mosquitto with every shipped listener on free ports of loopback, and the site's folder beside it."""

    def __init__(self, directory: Path, binary: str) -> None:
        self._directory = directory
        self.site = directory / "site"
        self.ports = dict(zip(PORTS, free_ports(len(PORTS), HOST), strict=True))
        self._child = ManagedProcess("mosquitto", [binary, "-c", str(directory / "mosquitto.conf")], directory / "log")

    def __enter__(self) -> Self:
        assert devices(self.site, "init", "localhost", HOST).exit_code == 0
        for folder in ("data", "listeners"):
            (self._directory / folder).mkdir()
        (self._directory / "mosquitto.conf").write_text(self.main_conf())
        for listener in TLS_LISTENERS:
            (self._directory / "listeners" / f"{listener}.conf").write_text(self.listener_conf(listener))
        try:
            self._child.start(self._answers)
        except BaseException:
            self._child.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.stop()

    def main_conf(self) -> str:
        lines = {
            "password_file": f"password_file {self.site}/broker/passwords",
            "acl_file": f"acl_file {self.site}/broker/acl",
            "persistence_location": f"persistence_location {self._directory}/data/",
            "include_dir": f"include_dir {self._directory}/listeners",
            "listener 1884": f"listener {self.ports['gateway-loopback']} {HOST}",
            "listener 1883": f"listener {self.ports['plain']} {HOST}",
        }
        if os.geteuid() == 0:
            lines["user"] = "user root"
        return with_site_lines((SHIPPED / "mosquitto.conf").read_text(), lines)

    def listener_conf(self, listener: str) -> str:
        shipped = (SHIPPED / "listeners" / f"{listener}.conf").read_text()
        paths = [line.split() for line in shipped.splitlines() if line.startswith(PATHS)]
        lines = {name: f"{name} {self.site}/broker/{Path(path).name}" for name, path in paths}
        lines["listener"] = f"listener {self.ports[listener]} {HOST}"
        return with_site_lines(shipped, lines)

    def add(self, *arguments: str) -> None:
        """`devices add`, and the reload that it asks for."""
        done = devices(self.site, "add", *arguments)
        assert done.exit_code == 0, done.output
        self.reload()

    def remove(self, *arguments: str) -> None:
        done = devices(self.site, "remove", *arguments)
        assert done.exit_code == 0, done.output
        self.reload()

    def reload(self) -> None:
        """SIGHUP; return when the files are read. Raises ProcessError where the broker ends of it."""
        before = self.log().count(RELOADED)
        self._child.process.send_signal(signal.SIGHUP)
        self._child.wait_until(lambda: self.log().count(RELOADED) > before, DEADLINE_S, "did not reload")
        # Its one thread answers nobody meanwhile, and a signal that comes before the end is lost.
        self._child.wait_until(self._answers, DEADLINE_S, "did not answer after a reload")

    def board(self, device: str) -> dict[str, Any]:
        """The board file of `fleet/device`."""
        found: dict[str, Any] = json.loads((self.site / "devices" / f"{device.replace('/', '.')}.json").read_text())
        return found

    def login(self, listener: str, device: str) -> Login:
        """As the device's board would connect to that listener, of whatever kind its credential is."""
        board = self.board(device)
        credentials = BrokerLogin(device, board["password"]) if "password" in board else None
        return Login(self.ports[listener], credentials, None if listener == "plain" else trusting(board))

    def smuggled(self, name: str, by: str) -> Login:
        """Of a user name that `devices add` would refuse."""
        if by == "certificate":
            return self._certified(self._authority().issue_device(name, NOT_AFTER))
        _, _, hashed = password_file.new_hash_line("any", "secret").partition(":")
        file = self.site / "broker" / "passwords"
        others = [line for line in file.read_text().splitlines() if not line.startswith(f"{name}:")]
        file.write_text("".join(f"{line}\n" for line in [*others, f"{name}:{hashed}"]))
        self.reload()
        return replace(self.login("password", "fleet-p/a"), credentials=BrokerLogin(name, "secret"))

    def forged(self, how: str) -> Login:
        """With the name of a device that is there, and a certificate that is not good."""
        if how == "expired":
            return self._certified(self._authority().issue_device("fleet-c/a", datetime(2020, 1, 1, tzinfo=UTC)))
        if how == "by another authority":
            return self._certified(
                CertificateAuthority.generate("edge-gateway site").issue_device("fleet-c/a", NOT_AFTER)
            )
        folder = self.site / "broker"
        return self._certified(
            Identity.from_pem((folder / "broker.pem").read_bytes(), (folder / "broker.key").read_bytes())
        )

    def _authority(self) -> CertificateAuthority:
        found = Site(self.site).authority()
        assert found is not None
        return found

    def _certified(self, identity: Identity) -> Login:
        ca = (self.site / "broker" / "ca.pem").read_text()
        return Login(self.ports["certificate"], None, showing(ca, identity.certificate_pem + identity.key_pem))

    def login_of(self, user: str, listener: str) -> Login:
        """As the gateway or the operator."""
        credentials = BrokerLogin(user, (self.site / user / "password").read_text().strip())
        ca = (self.site / "gateway" / "ca.pem").read_text()
        return Login(
            self.ports[listener],
            credentials,
            ssl.create_default_context(cadata=ca) if listener in TLS_LISTENERS else None,
        )

    def _answers(self) -> bool:
        return speaks_mqtt(HOST, self.ports["plain"], MQTT_3_1_1)

    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")


def warnings_in(log: str) -> list[str]:
    """Mosquitto's lines that ask an operator for something, but for two that root's tests cause: it stays root there,
    since its files are where no other account may read them, and `devices` gave them to its account."""
    lines = [line for line in log.splitlines() if re.search(r"(Warning|Note|Error): |deprecated", line)]
    return [line for line in lines if not re.search("should not be run as root|(owner|group) is not root", line)]


def trusting(board: dict[str, Any]) -> ssl.SSLContext:
    """A context that trusts the board's authority, and shows its certificate where it has one."""
    if "cert" not in board:
        return ssl.create_default_context(cadata=b64decode(board["ca"]))
    key = f"-----BEGIN PRIVATE KEY-----\n{board['key']}\n-----END PRIVATE KEY-----\n"
    pem = ssl.DER_cert_to_PEM_cert(b64decode(board["cert"])) + key
    return showing(b64decode(board["ca"]), pem.encode())


def showing(ca: str | bytes, pem: bytes) -> ssl.SSLContext:
    """CPython reads a certificate and its key from nothing but a file."""
    context = ssl.create_default_context(cadata=ca)
    with NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
