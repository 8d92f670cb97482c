"""`serve` as a process: on a file of an earlier version, while a backup is made, and where its database is wrong."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.contract.store.test_formats import old_file
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import Manager
from tests.support.postgres import Postgres

DEVICES = [f"device-{number}" for number in range(8)]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "data")
    yield made
    made.stop()


class Heartbeats(threading.Thread):
    """Calls of one device, one after the other: the number in each is that of the call."""

    def __init__(self, url: str, device: str, ends: threading.Event) -> None:
        super().__init__()
        self.acknowledged = 0
        self._url, self._device, self._ends = url, device, ends

    def run(self) -> None:
        while not self._ends.is_set():
            number = self.acknowledged + 1
            call = {
                "DeviceFleetName": "f",
                "DeviceName": self._device,
                "AgentVersion": str(number),
                "AgentMetrics": [{"Dimension": "s", "MetricName": "round", "Value": number, "Timestamp": number}],
                "DeploymentResult": {"DeploymentName": "one", "DeploymentStatusMessage": str(number)},
            }
            with urlopen(
                Request(f"{self._url}/SendHeartbeat", json.dumps(call).encode()), timeout=DEADLINE_S
            ) as answer:
                assert answer.status == 200
            self.acknowledged = number


def test_serve_goes_on_with_a_file_of_an_earlier_version(manager: Manager) -> None:
    old_file(manager.data, 3)
    manager.run("status", status=2)
    manager.start()
    devices = {(each["fleet"], each["device"]): each for each in manager.status()}
    assert len(devices) == 6
    kitchen = devices["house", "kitchen"]
    assert (kitchen["accepted"], kitchen["agent_version"], kitchen["liveness"]["seconds"]) == (4, "2.1", 300)
    assert [each["told"] for each in kitchen["results"]] == [3]
    edge = manager.client("sagemaker-edge")
    plan = edge.get_deployments(DeviceFleetName="house", DeviceName="kitchen")["Deployments"]
    assert [each["DeploymentName"] for each in plan] == ["wake-2"]
    rollouts = json.loads(manager.run("deployments", "--json").stdout)
    assert {(each["deployment"], each["state"]) for each in rollouts} >= {("staged", "paused"), ("undone", "aborted")}


def test_a_backup_while_it_serves_has_all_that_was_acknowledged(manager: Manager, tmp_path: Path) -> None:
    manager.start()
    manager.run("register", "f", *DEVICES)
    ends = threading.Event()
    callers = [Heartbeats(manager.url, device, ends) for device in DEVICES]
    for caller in callers:
        caller.start()
    try:
        while min(caller.acknowledged for caller in callers) < 5:
            assert all(caller.is_alive() for caller in callers)
            ends.wait(0.01)
        before = {caller._device: caller.acknowledged for caller in callers}
        manager.run("backup", str(tmp_path / "site.tar"))
    finally:
        ends.set()
        for caller in callers:
            caller.join()
    restored = Manager(tmp_path / "restored")
    restored.run("restore", str(tmp_path / "site.tar"))
    found = restored.status()
    assert [each["device"] for each in found] == DEVICES
    for each in found:
        number = each["accepted"]
        assert before[each["device"]] <= number
        assert each["agent_version"] == str(number)
        assert each["metrics"][0]["value"] == number
        assert [result["told"] for result in each["results"]] == [number]
        assert each["results"][0]["result"]["DeploymentStatusMessage"] == str(number)


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("postgresql://127.0.0.1:1/edge", 1, "start the server, or correct host and port of --database"),
        ("{server}/none", 2, "create it (createdb), or correct --database"),
        ("mysql://user:secret@host/edge", 2, "is not a URL: postgresql://user@host/name"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    manager: Manager, postgres: Postgres, url: str, status: int, said: str
) -> None:
    url = url.format(server=postgres.url("").removesuffix("/"))
    done = manager.run("serve", "--port", "0", "--database", url, status=status)
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"{said}\n")
    assert "secret" not in done.stderr
