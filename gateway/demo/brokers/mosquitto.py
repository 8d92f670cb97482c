"""Mosquitto as a child process, with the shipped configuration and the ACL of `edge-gateway devices`.

It must never use another configuration: the demo and the tests must show what a site gets.
"""

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin, both_listeners_answer, free_ports
from gateway.demo.brokers.process import ManagedBroker
from gateway.provisioning import AclFile, PasswordFile

SHIPPED = Path(__file__).resolve().parents[3] / "mosquitto"
HOST = "127.0.0.1"
ROOT = "edge"
RELOADED = "Reloading config."
RELOAD_TIMEOUT_S = 600.0
"""Mosquitto 2.0 takes 16 s for 30,000 users."""
SAVE_TIMEOUT_S = 60.0


def with_site_lines(conf: str, lines: Mapping[str, str]) -> str:
    """The configuration with some lines replaced. All other lines stay the same.

    `lines`: the new lines by the first words of the old ones ("user", "listener 1883"). Raises ValueError if not
    exactly one line begins so: the shipped file was changed, and the caller must change too.
    """
    result = conf.splitlines()
    for beginning, replacement in lines.items():
        found = [i for i, line in enumerate(result) if f"{line} ".startswith(f"{beginning} ")]
        if len(found) != 1:
            raise ValueError(f"{len(found)} lines of the configuration begin with {beginning!r}, must be 1")
        result[found[0]] = replacement
    return "\n".join(result) + "\n"


class UserFiles:
    """The password_file and acl_file of one broker, in `folder`, and the passwords in clear text for its clients."""

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        self._folder = folder
        self._mode = mode
        self._passwords = PasswordFile()
        self._acl = AclFile.new(ROOT)
        self.readers: list[str] = []  # users who may read all topics, once they are added
        self._logins: dict[str, BrokerLogin] = {}

    def add_users(self, users: Iterable[str]) -> bool:
        """Generate passwords for new users and write both files. False if no user is new."""
        new = [user for user in dict.fromkeys(users) if user not in self._logins]
        for user in new:
            self._logins[user] = BrokerLogin(user, secrets.token_urlsafe(18))
            self._passwords.set(user, self._logins[user].password)
            if "/" in user:
                self._acl.grant(user)
        if new:
            self._write("passwords", str(self._passwords))
            readers = "".join(f"user {each}\ntopic read {ROOT}/#\n" for each in self.readers)
            self._write("acl", f"{self._acl}{readers}")
        return bool(new)

    def __getitem__(self, user: str) -> BrokerLogin:
        return self._logins[user]

    def _write(self, name: str, text: str) -> None:
        """Replace the file at once: the broker may read it at any time."""
        temporary = self._folder / f"{name}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, self._mode), "w") as file:
            os.fchmod(file.fileno(), self._mode)  # whatever the umask is
            file.write(text)
        temporary.replace(self._folder / name)


class Mosquitto(ManagedBroker):
    """A Mosquitto on free ports of loopback that keeps its files in `directory`."""

    def __init__(self, directory: Path, binary: str = "mosquitto") -> None:
        self._directory = directory
        self._users = UserFiles(directory)
        gateway_port, device_port = free_ports(2, HOST)
        self._users.add_users(("gateway", "operator"))
        address = BrokerAddress(
            kind=version(binary),
            host=HOST,
            gateway_port=gateway_port,
            device_port=device_port,
            gateway=self._users["gateway"],
            operator=self._users["operator"],
            has_acl=True,
            keeps_data=True,
        )
        super().__init__(address, [binary, "-c", str(directory / "mosquitto.conf")], directory / "log")

    @property
    def log(self) -> str:
        return self._process.log.read_text(errors="replace")

    def save(self) -> None:
        """Save now, as at each `autosave_interval`. Return when the file is written."""
        database = self._directory / "data" / "mosquitto.db"
        before = _changed_ns(database)
        self._process.process.send_signal(signal.SIGUSR1)
        self._process.wait_until(lambda: _changed_ns(database) != before, SAVE_TIMEOUT_S, "did not save")

    def add_reader(self, user: str) -> BrokerLogin:
        self._users.readers.append(user)
        return self.add_user(user)

    def add_users(self, users: Iterable[str]) -> dict[str, BrokerLogin]:
        """Make users, with one reload of the broker."""
        wanted = tuple(users)
        if self._users.add_users(wanted) and self._process.is_running:
            self._reload()
        return {user: self._users[user] for user in wanted}

    def _reload(self) -> None:
        before = self.log.count(RELOADED)
        self._process.process.send_signal(signal.SIGHUP)
        self._process.wait_until(lambda: self.log.count(RELOADED) > before, RELOAD_TIMEOUT_S, "did not reload")
        # Its one thread answers nobody until it has read the files, and loses a signal that comes meanwhile.
        answers = partial(both_listeners_answer, self.address)
        self._process.wait_until(answers, RELOAD_TIMEOUT_S, "did not answer after its reload")

    def _write_files(self) -> None:
        for folder in ("data", "listeners"):  # no listeners with TLS: it listens on loopback only
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
            "include_dir": f"include_dir {self._directory}/listeners",
        }
        if os.geteuid() == 0:  # no other account may read the folder
            lines["user"] = "user root"
        return lines


def version(binary: str) -> str:
    """ "mosquitto 2.0.11". Raises OSError if the program cannot be run."""
    text = subprocess.run([binary, "-h"], capture_output=True, text=True, check=False, timeout=10).stdout
    found = re.search(r"version (\S+)", text)
    return f"mosquitto {found[1]}" if found else "mosquitto of an unknown version"


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
