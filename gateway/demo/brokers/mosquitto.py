"""Mosquitto as a child process, with the configuration that is shipped and the ACL of `edge-gateway devices`.

It must never run any other: what the demo and the tests show holds for the files that a deployment copies.
"""

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.demo.brokers.address import Address, Credentials, both_answer, free_ports
from gateway.demo.brokers.process import START_S, Child
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.password_file import PasswordFile

SHIPPED = Path(__file__).resolve().parents[3] / "mosquitto"
HOST = "127.0.0.1"
ROOT = "edge"
RELOADED = "Reloading config."
RELOAD_S = 600.0
"""At the most. 2.0 takes 16 s for 30,000 users."""


def with_site_lines(conf: str, lines: Mapping[str, str]) -> str:
    """The configuration with some of its lines replaced, all others byte for byte as they are.

    `lines` gives the new line for each beginning ("user", "listener 1883"), whole words. Raises ValueError where a
    beginning does not name exactly one line: then the shipped file has changed, and its site lines with it.
    """
    result = conf.splitlines()
    for beginning, replacement in lines.items():
        found = [i for i, line in enumerate(result) if f"{line} ".startswith(f"{beginning} ")]
        if len(found) != 1:
            raise ValueError(f"{len(found)} lines of the configuration begin with {beginning!r}, must be 1")
        result[found[0]] = replacement
    return "\n".join(result) + "\n"


class Users:
    """The password file and the acl_file of one broker, in `folder`. It knows the passwords that it drew, so a restart
    needs no new ones."""

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        self._folder = folder
        self._mode = mode
        self._passwords = PasswordFile()
        self._acl = AclFile.new(ROOT)
        self._readers: list[str] = []
        self._known: dict[str, Credentials] = {}

    def admit(self, users: Iterable[str]) -> bool:
        """Draw a password for each user that has none and write both files. False where all were known."""
        new = [user for user in dict.fromkeys(users) if user not in self._known]
        for user in new:
            self._known[user] = Credentials(user, secrets.token_urlsafe(18))
            self._passwords.set(user, self._known[user].password)
            if "/" in user:
                self._acl.grant(user)
        if new:
            self._write("passwords", str(self._passwords))
            self._write(
                "acl", str(self._acl) + "".join(f"user {each}\ntopic read {ROOT}/#\n" for each in self._readers)
            )
        return bool(new)

    def let_read_all(self, user: str) -> None:
        """Whoever it is may read all topics, from its admission on."""
        self._readers.append(user)

    def __getitem__(self, user: str) -> Credentials:
        return self._known[user]

    def _write(self, name: str, text: str) -> None:
        """In one step: the broker may read it at any moment."""
        fresh = self._folder / f"{name}.new"
        with open(os.open(fresh, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, self._mode), "w") as file:
            os.fchmod(file.fileno(), self._mode)  # whatever the umask is
            file.write(text)
        fresh.replace(self._folder / name)


class Mosquitto:
    """A Mosquitto on free ports of loopback that keeps its files in `directory`.

    A context manager: entering starts it, leaving stops it. After `stop` or `kill`, `start` brings it back on the same
    ports with the same data and users.
    """

    def __init__(self, directory: Path, binary: str = "mosquitto") -> None:
        self._directory = directory
        self._binary = binary
        self._users = Users(directory)
        gateway_port, device_port = free_ports(2, HOST)
        self._users.admit(("gateway", "operator"))
        self.address = Address(
            kind=version(binary),
            host=HOST,
            gateway_port=gateway_port,
            device_port=device_port,
            gateway=self._users["gateway"],
            operator=self._users["operator"],
            has_acl=True,
            keeps_data=True,
        )
        self._child = Child(self.address.kind, [binary, "-c", str(directory / "mosquitto.conf")], directory / "log")

    def __repr__(self) -> str:
        return f"<Mosquitto on {self.address.host}:{self.address.device_port}, {self._child!r}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Raises ChildError where it does not run."""
        return self._child.process.pid

    @property
    def log(self) -> str:
        return self._child.log.read_text(errors="replace")

    def start(self, timeout: float = START_S) -> None:
        """Return once both listeners answer. Raises ChildError, with the broker's log, where they do not in time."""
        self._write_files()
        self._child.start(lambda: both_answer(self.address), timeout)

    def stop(self) -> None:
        """SIGTERM: all is saved."""
        self._child.stop()

    def kill(self) -> None:
        """kill -9: what came after the last save is lost."""
        self._child.kill()

    def save(self) -> None:
        """Save now, as each `autosave_interval` does, and return once it is on the disk."""
        database = self._directory / "data" / "mosquitto.db"
        before = _changed(database)
        self._child.process.send_signal(signal.SIGUSR1)
        self._child.wait_until(lambda: _changed(database) != before, 10.0, "did not save")

    def admit(self, user: str) -> Credentials:
        """Credentials for a user, known to the broker when this returns."""
        return self.admit_all((user,))[user]

    def admit_reader(self, user: str) -> Credentials:
        """Credentials for a user who may read all topics. No user of a site may: the ACL is this broker's own."""
        self._users.let_read_all(user)
        return self.admit(user)

    def admit_all(self, users: Iterable[str]) -> dict[str, Credentials]:
        """`admit` for many, with one reload."""
        wanted = tuple(users)
        if self._users.admit(wanted) and self._child.is_running:
            self._reload()
        return {user: self._users[user] for user in wanted}

    def _reload(self) -> None:
        before = self.log.count(RELOADED)
        self._child.process.send_signal(signal.SIGHUP)
        self._child.wait_until(lambda: self.log.count(RELOADED) > before, 10.0, "did not reload")
        # Its one thread answers nobody before it has read all, and a signal that comes meanwhile is lost.
        self._child.wait_until(lambda: both_answer(self.address), RELOAD_S, "did not answer after its reload")

    def _write_files(self) -> None:
        for folder in ("data", "doors"):  # none of the doors with TLS: it listens on loopback alone
            (self._directory / folder).mkdir(exist_ok=True)
        conf = with_site_lines((SHIPPED / "mosquitto.conf").read_text(), self._site_lines())
        (self._directory / "mosquitto.conf").write_text(conf)

    def _site_lines(self) -> dict[str, str]:
        lines = {
            "password_file": f"password_file {self._directory}/passwords",
            "acl_file": f"acl_file {self._directory}/acl",
            "persistence_location": f"persistence_location {self._directory}/data/",
            "listener 1884": f"listener {self.address.gateway_port} {HOST}",
            "listener 1883": f"listener {self.address.device_port} {HOST}",
            "include_dir": f"include_dir {self._directory}/doors",
        }
        if os.geteuid() == 0:  # its files are in a folder that no other account may enter
            lines["user"] = "user root"
        return lines


def version(binary: str) -> str:
    """ "mosquitto 2.0.11". Raises OSError where there is no such program."""
    text = subprocess.run([binary, "-h"], capture_output=True, text=True, check=False, timeout=10).stdout
    found = re.search(r"version (\S+)", text)
    return f"mosquitto {found[1]}" if found else "mosquitto of an unknown version"


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
