"""Staged rollouts over a thousand simulated devices: a real process behind its API, and an operator's commands."""

import http.client
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.manager.rollouts.decisions import rollout_order
from tests.support.manager_process import Manager

DEVICES = [f"dev-{number:04}" for number in range(1000)]
CALLERS = 16
Served = tuple[Manager, Path]
"""A manager, and the file of a model."""
LINK = {"Connection": "keep-alive", "Content-Type": "application/json"}


class ManyDevices:
    """A thousand devices, CALLERS at once: each fetches its deployments, and reports the result of a new one."""

    def __init__(self, url: str, fleet: str, fails: Callable[[str], bool]) -> None:
        self.address = urlsplit(url).netloc
        self.caller = threading.local()
        self.fleet = fleet
        self.fails = fails
        self.installed: dict[str, str] = {}

    def call(self, operation: str, device: str, **members: object) -> dict[str, Any]:
        body = json.dumps({"DeviceFleetName": self.fleet, "DeviceName": device} | members)
        if not hasattr(self.caller, "http"):
            self.caller.http = http.client.HTTPConnection(self.address, timeout=30)
        self.caller.http.request("POST", f"/{operation}", body, LINK)
        answer = self.caller.http.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        answered: dict[str, Any] = json.loads(text or b"{}")
        return answered

    def fetch_all(self) -> set[str]:
        """Every device fetches once; those that got something new."""
        with ThreadPoolExecutor(CALLERS) as callers:
            return {device for device, is_new in zip(DEVICES, callers.map(self.fetch, DEVICES), strict=True) if is_new}

    def fetch(self, device: str) -> bool:
        """Whether it got something new."""
        is_new = False
        for plan in self.call("GetDeployments", device)["Deployments"]:
            if self.installed.get(device) != plan["DeploymentName"]:
                self.install(device, plan["DeploymentName"])
                is_new = True
        return is_new

    def install(self, device: str, name: str) -> None:
        """One that fails retries and reboots, and reports each time; every device repeats its report."""
        self.installed[device] = name
        tries = 3 if self.fails(device) else 1
        for attempt in range(2 * tries):
            result = {
                "DeploymentName": name,
                "DeploymentStatus": "FAIL" if self.fails(device) else "SUCCESS",
                "DeploymentStartTime": 1_790_000_000 + attempt // 2,
            }
            self.call("SendHeartbeat", device, AgentVersion="1.0", DeploymentResult=result)


@pytest.fixture(scope="module")
def thousands(make_manager: Callable[..., Manager], tmp_path_factory: pytest.TempPathFactory) -> Served:
    manager = make_manager()
    model = tmp_path_factory.mktemp("model") / "kws.tflite"
    model.write_bytes(b"a model")
    for fleet in ("stops", "ends"):
        manager.run("register", fleet, *DEVICES)
    return manager, model


def deploy(thousands: Served, fleet: str, *options: str) -> None:
    manager, model = thousands
    stages = ("--stages", "1%,10%,100%", "--stop-at", "5%", "--name", "new")
    manager.run("deploy", fleet, "--all", f"kws={model}", *stages, *options)


def progress(manager: Manager, fleet: str) -> dict[str, Any]:
    report: dict[str, Any]
    (report,) = [each for each in json.loads(manager.run("deployments", fleet, "--json").stdout) if not each["undoes"]]
    return report


def test_a_rollout_over_a_thousand_devices_stops_at_the_threshold(thousands: Served) -> None:
    """The first stage succeeds; every eighth device of the second one fails."""
    manager, _ = thousands
    ordered = rollout_order("new", DEVICES)
    deploy(thousands, "stops")
    swarm = ManyDevices(manager.url, "stops", fails=lambda device: device in ordered[10:100:8])
    reached: set[str] = set()
    while progress(manager, "stops")["state"] == "running":  # the next stage may start a second after the last result
        reached |= swarm.fetch_all()
    assert reached <= set(ordered[:100])
    report = progress(manager, "stops")
    assert (report["state"], report["stage"], report["waiting"], report["pending"]) == ("stopped", 2, 900, 0)
    assert report["succeeded"] + report["failed"] + report["withdrawn"] == 100
    # What had fetched the plan before the stop reports after it: the reason has the numbers of the stop.
    at_the_stop = re.fullmatch(r"(\d+) of (\d+) results are FAIL, more than 5%", report["reason"])
    assert at_the_stop is not None, report["reason"]
    failed, of = map(int, at_the_stop.groups())
    results = report["succeeded"] + report["failed"]
    assert failed > of * 0.05
    assert failed <= report["failed"] <= 12
    assert of <= results
    assert report["reason"] in manager.run("deployments", "stops").stdout

    manager.run("undo", "stops", "new")
    said = manager.run("undo", "stops", "new").stdout
    assert said.startswith("nothing to undo: new is undone already, by ")
    assert swarm.fetch_all() == reached, "those that had it, and no other"
    undo = json.loads(manager.run("deployments", "stops", "--json").stdout)[-1]
    assert (undo["undoes"], undo["devices"], undo["state"]) == ("new", results, "completed")


def test_a_rollout_over_a_thousand_devices_that_completes(thousands: Served) -> None:
    """Five devices fail, all in the third stage: in no order of the results is that ever more than the threshold.
    The second stage lasts two seconds: time starts the third."""
    manager, _ = thousands
    ordered = rollout_order("new", DEVICES)
    deploy(thousands, "ends", "--wait", "0s,2s")
    failing = set(ordered[200::160])
    swarm = ManyDevices(manager.url, "ends", fails=lambda device: device in failing)
    while len(swarm.installed) < 1000:
        swarm.fetch_all()
        assert progress(manager, "ends")["state"] != "stopped"
        assert len(swarm.installed) > 100 or set(swarm.installed) <= set(ordered[:100])
    report = progress(manager, "ends")
    assert [stage["devices"] for stage in report["stages"]] == [10, 100, 1000]
    assert (report["state"], report["stage"], report["succeeded"], report["failed"]) == ("completed", 3, 995, 5)
