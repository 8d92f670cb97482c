"""What devices cost the broker when one more is added: entries in the acl_file, beside the dynamic security plugin.

    python tests/benchmarks/bench_acl.py [DEVICES ...]        1,000, 10,000 and 30,000 where none is given

For each number of devices and each way: seconds from the broker's start until it answers, the longest wait of a device
that publishes heartbeats (QoS 1) while one more device is added, how many of the connected devices lost their
connection by that, the time of a connect, the broker's memory. Mosquitto on the PATH; the plugin is looked for where
packages have it, MOSQUITTO_PLUGIN names another.
"""

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from gateway.demo.brokers.address import BrokerLogin, free_ports
from gateway.demo.brokers.discovery import mosquitto_binary
from gateway.demo.brokers.mosquitto import HOST, Mosquitto, version
from gateway.demo.brokers.process import ManagedProcess
from gateway.mqtt.probe import MQTT_3_1_1, speaks_mqtt
from gateway.provisioning.acl_file import FROM_DEVICE, TO_DEVICE
from gateway.provisioning.password_file import new_hash_line

CONNECTED = 20
DEADLINE_S = 900.0
ADMIN = BrokerLogin("admin", "secret")
CONTROL = "$CONTROL/dynamic-security/v1"


@dataclass
class Site:
    """A broker that runs: how devices reach it, and how one more is added."""

    port: int
    pid: int
    start_s: float
    credentials: Callable[[str], BrokerLogin]
    add: Callable[[], object]


@contextmanager
def with_entries(binary: str, folder: Path, users: list[str]) -> Iterator[Site]:
    broker = Mosquitto(folder, binary)
    broker.add_users(users)
    began = time.monotonic()
    broker.start(timeout=DEADLINE_S)
    took = time.monotonic() - began
    try:
        yield Site(
            broker.address.device_port, broker.pid, took, broker.add_user, lambda: broker.add_user("fleet-a/one-more")
        )
    finally:
        broker.stop()


@contextmanager
def with_plugin(binary: str, folder: Path, users: list[str]) -> Iterator[Site]:
    salted: dict[str, object]
    salted = dict(
        zip(("iterations", "salt", "password"), new_hash_line("any", ADMIN.password).split("$")[2:], strict=True)
    )
    salted["iterations"] = int(str(salted["iterations"]))
    clients = [{"username": user, "roles": [{"rolename": user}], **salted} for user in (*users, ADMIN.user)]
    roles = [{"rolename": user, "acls": rights(user)} for user in users]
    kinds = ("publishClientSend", "publishClientReceive", "subscribePattern")
    roles.append({"rolename": ADMIN.user, "acls": [rule(kind, "$CONTROL/dynamic-security/#") for kind in kinds]})
    access = {"publishClientSend": False, "publishClientReceive": False, "subscribe": False, "unsubscribe": True}
    (folder / "security.json").write_text(
        json.dumps({"defaultACLAccess": access, "clients": clients, "roles": roles, "groups": []})
    )
    (folder / "security.json").chmod(0o600)
    (port,) = free_ports(1)
    root = "user root\n" if os.geteuid() == 0 else ""
    (folder / "conf").write_text(
        f"{root}listener {port} {HOST}\nallow_anonymous false\nplugin {plugin()}\n"
        f"plugin_opt_config_file {folder}/security.json\n"
    )
    child = ManagedProcess("mosquitto", [binary, "-c", str(folder / "conf")], folder / "log")
    began = time.monotonic()
    child.start(lambda: speaks_mqtt(HOST, port, MQTT_3_1_1), DEADLINE_S)
    took = time.monotonic() - began
    try:
        with connected(port, ADMIN, "admin") as admin:
            yield Site(
                port, child.process.pid, took, lambda user: BrokerLogin(user, ADMIN.password), lambda: add(admin)
            )
    finally:
        child.stop()


def add(admin: paho.Client) -> None:
    """One device by the plugin's commands; return once it has answered."""
    answered = threading.Event()
    admin.on_message = lambda *_: answered.set()
    admin.subscribe(f"{CONTROL}/response", 1)
    user = "fleet-a/one-more"
    commands = [
        {"command": "createRole", "rolename": user, "acls": rights(user)},
        {"command": "createClient", "username": user, "password": "secret", "roles": [{"rolename": user}]},
    ]
    admin.publish(CONTROL, json.dumps({"commands": commands}), 1)
    assert answered.wait(DEADLINE_S), "the plugin does not answer"


def rights(user: str) -> list[dict[str, object]]:
    kinds = [("publishClientSend", FROM_DEVICE), ("publishClientReceive", TO_DEVICE), ("subscribeLiteral", TO_DEVICE)]
    return [rule(kind, f"edge/{user}/{channel}") for kind, channels in kinds for channel in channels]


def rule(kind: str, topic: str) -> dict[str, object]:
    return {"acltype": kind, "topic": topic, "priority": 0, "allow": True}


def plugin() -> str:
    """$MOSQUITTO_PLUGIN, or where packages have it. Raises StopIteration where it is not there."""
    name = "mosquitto_dynamic_security.so"
    places = (Path(folder).glob(f"**/{name}") for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib"))
    return os.environ.get("MOSQUITTO_PLUGIN") or next(str(found) for place in places for found in place)


@contextmanager
def connected(port: int, who: BrokerLogin, client_id: str) -> Iterator[paho.Client]:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, reconnect_on_failure=False)
    client.username_pw_set(who.user, who.password)
    came = threading.Event()
    client.on_connect = lambda *_: came.set()
    client.connect(HOST, port, keepalive=600)
    client.loop_start()
    assert came.wait(DEADLINE_S), "no CONNACK"
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def longest_wait(device: paho.Client, topic: str, meanwhile: Callable[[], object]) -> float:
    """Seconds from a publish to its PUBACK, one after another until the work is done, and once more behind it."""
    done = threading.Event()

    def work() -> None:
        meanwhile()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    longest = 0.0
    last = False
    while not last:
        last = done.is_set()
        began = time.monotonic()
        device.publish(topic, b"heartbeat", 1).wait_for_publish(DEADLINE_S)
        longest = max(longest, time.monotonic() - began)
    thread.join()
    return longest


def measure(way: Callable[[str, Path, list[str]], AbstractContextManager[Site]], devices: int) -> list[str]:
    binary = mosquitto_binary() or "mosquitto"
    users = [f"fleet-a/dev-{number:06d}" for number in range(devices)]
    with tempfile.TemporaryDirectory() as folder, way(binary, Path(folder), users) as site, ExitStack() as stack:
        clients = [
            stack.enter_context(connected(site.port, site.credentials(user), user)) for user in users[-CONNECTED:]
        ]
        ends: list[object] = []
        for client in clients:
            client.on_disconnect = lambda *_: ends.append(1)
        wait = longest_wait(clients[0], f"edge/{users[-CONNECTED]}/hb", site.add)
        ended = len(ends)
        times = []
        for _ in range(20):
            began = time.monotonic()
            with connected(site.port, site.credentials(users[0]), users[0]):
                times.append(time.monotonic() - began)
        memory = int(Path(f"/proc/{site.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
    return [f"{site.start_s:.2f}", f"{wait:.2f}", str(ended), f"{statistics.median(times) * 1e3:.2f}", f"{memory:.0f}"]


def main(sizes: list[int]) -> None:
    table = Table(title=f"{version(mosquitto_binary() or 'mosquitto')}, one device added")
    for column in ("devices", "way", "start, s", "longest wait, s", "connections lost", "connect, ms", "memory, MB"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for devices in sizes:
        for name, way in (("entries, SIGHUP", with_entries), ("plugin", with_plugin)):
            table.add_row(f"{devices:,}", name, *measure(way, devices))
    Console(width=120).print(table)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000, 10_000, 30_000])
