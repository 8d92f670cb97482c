"""Brokers and endpoints that are broken in one way each, and the doctor's command as a script calls it."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import NamedTemporaryFile

from gateway.demo.brokers.process import ProcessError
from gateway.provisioning.certificate_authority import Identity
from tests.integration import site_files
from tests.support.paths import ROOT
from tests.support.site import HOST, SiteBroker

DOCTOR = [sys.executable, "-m", "gateway", "doctor"]
CLEAN_START = 0x02
"""MQTT 5, 3.1.2.4: a flag of CONNECT."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `doctor --json` said: exit status, and each check's level and text (found and todo)."""

    status: int
    levels: dict[str, str]
    texts: dict[str, str]

    def of(self, level: str) -> set[str]:
        return {check for check, found in self.levels.items() if found == level}


def examined(variables: dict[str, str], *arguments: str, doctor: Sequence[str] = DOCTOR) -> Report:
    """The command, run to its end."""
    done = subprocess.run(
        [*doctor, "--json", *arguments], env=variables, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    checks = json.loads(done.stdout)["checks"]
    texts = {each["check"]: f"{each['found']} {each['todo'] or ''}" for each in checks}
    return Report(done.returncode, {each["check"]: each["level"] for each in checks}, texts)


class Altered(SiteBroker):
    """A site whose mosquitto.conf says some things otherwise: lines at its end, in place of those that begin so."""

    def __init__(self, directory: Path, binary: str, *lines: str, without: str = "") -> None:
        super().__init__(directory, binary)
        self._lines = lines
        self._dropped = [line.split()[0] for line in lines] + without.split()

    def main_conf(self) -> str:
        site_files.address(self.site, "localhost", self.ports["password"])
        kept = [line for line in super().main_conf().splitlines() if line.split(" ")[0] not in self._dropped]
        return "\n".join([*self._lines, *kept, ""])

    def outlives_a_reload(self) -> bool:
        """SIGHUP; whether the broker still runs once it has read its files."""
        try:
            self.reload()
        except ProcessError:
            return False
        return True


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of loopback; `serve` has each connection, in a thread of its own."""
    with socket.create_server((HOST, 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=_served, args=(serve, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _served(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection, suppress(OSError):
        serve(connection)


@contextmanager
def tls_listener(identity: Identity) -> Iterator[int]:
    """A port that shows this certificate, and speaks nothing after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with NamedTemporaryFile() as file:
        file.write(identity.certificate_pem + identity.key_pem)
        file.flush()
        context.load_cert_chain(file.name)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with _listening(serve) as port:
        yield port


@contextmanager
def forgetful(upstream: int) -> Iterator[int]:
    """A proxy to the broker at `upstream` that makes every session a new one: it sets Clean Start in each
    CONNECT."""

    def serve(connection: socket.socket) -> None:
        with socket.create_connection((HOST, upstream)) as broker:
            connect = bytearray(connection.recv(4096))
            if not connect:
                return
            at = 1
            while connect[at] & 0x80:
                at += 1
            connect[at + 8] |= CLEAN_START  # behind the name "MQTT" with its length, and the protocol level
            broker.sendall(connect)
            threading.Thread(target=_copied, args=(broker, connection), daemon=True).start()
            _copied(connection, broker)

    with _listening(serve) as port:
        yield port


@contextmanager
def cutting(upstream: int, topic: bytes) -> Iterator[int]:
    """A proxy to the broker at `upstream` that ends each connection on which a packet names this topic, as some brokers
    do to say no."""

    def serve(connection: socket.socket) -> None:
        with socket.create_connection((HOST, upstream)) as broker:
            threading.Thread(target=_copied, args=(broker, connection), daemon=True).start()
            while (data := connection.recv(65_536)) and topic not in data:
                broker.sendall(data)
            connection.shutdown(socket.SHUT_RDWR)

    with _listening(serve) as port:
        yield port


def _copied(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def endpoint(body: bytes, kind: str, ahead: float = 0.0) -> Iterator[str]:
    """The URL of an HTTP server that answers everything so; `ahead`: seconds by which its clock is."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(int(time.time() + ahead))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}"
        server.shutdown()
