"""`manager history` and `manager fleet-history`, on a service that compacts while it runs."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.manager_process import Manager

AGES = (7200, 3600, 60, 30)
"""Seconds before now of the samples, whose values are 0, 1, 2, 3."""


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Manager:
    """Two devices of one model, in two versions; the service has ended."""
    manager = Manager(
        Path(tmp_path_factory.mktemp("history")) / "data", ["--history-days", "30", "--history-size", "10MB"]
    )
    manager.start()
    try:
        manager.run("register", "f", "d1", "d2", "d3")
        client, now = manager.client("sagemaker-edge"), time.time()
        for device, version in (("d1", "1"), ("d2", "2")):
            for number, age in enumerate(AGES):
                at = datetime.fromtimestamp(now - age, UTC)
                metric = {"Dimension": "sys", "MetricName": "heap", "Value": float(number), "Timestamp": at}
                client.send_heartbeat(
                    DeviceFleetName="f",
                    DeviceName=device,
                    AgentVersion="1",
                    AgentMetrics=[metric],
                    Models=[
                        {
                            "ModelName": "word",
                            "ModelVersion": f"1.0.{version}",
                            "ModelMetrics": [metric | {"MetricName": "score"}],
                        }
                    ],
                )
    finally:
        manager.stop()
    return manager


def test_without_a_metric_all_are_listed(manager: Manager) -> None:
    listed = json.loads(manager.run("history", "f", "d1", "--json").stdout)
    assert [(each["model"], each["version"], each["dimension"], each["name"], each["samples"]) for each in listed] == [
        ("", "", "sys", "heap", 4),
        ("word", "1.0.1", "sys", "score", 4),
    ]
    heading, first, second = manager.run("history", "f", "d1").stdout.splitlines()
    assert heading.split() == ["Metric", "Samples", "First", "Newest"]
    assert first.startswith("sys/heap ")
    assert second.startswith("word 1.0.1 sys/score ")


def test_a_series_has_buckets_and_a_bar(manager: Manager) -> None:
    (series,) = json.loads(
        manager.run("history", "f", "d1", "sys/heap", "--from", "3h", "--points", "4", "--json").stdout
    )
    assert series["seconds"] == 3600
    assert sum(bucket["count"] for bucket in series["buckets"]) == 4
    assert series["buckets"][0]["min"] == 0.0
    assert series["buckets"][-1]["max"] == 3.0
    lines = manager.run("history", "f", "d1", "heap", "--from", "3h", "--points", "4").stdout.splitlines()
    assert lines[0] == "sys/heap"
    assert lines[1].split() == ["From", "Samples", "Min", "Mean", "Max"]
    assert lines[2].endswith("  *")
    assert lines[-1].endswith("*") or lines[-1].endswith("-")


def test_raw_samples_are_those_that_were_sent(manager: Manager) -> None:
    (found,) = json.loads(manager.run("history", "f", "d2", "score", "--from", "3h", "--raw", "--json").stdout)
    assert [sample["value"] for sample in found["samples"]] == [0.0, 1.0, 2.0, 3.0]
    assert not found["more"]
    lines = manager.run("history", "f", "d2", "score", "--from", "3h", "--raw", "--limit", "3").stdout.splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("more of word 1.0.2 sys/score: --from 20")


def test_a_fleet_has_a_series_for_each_version(manager: Manager) -> None:
    found = json.loads(manager.run("fleet-history", "f", "score", "--from", "1d", "--json").stdout)
    assert [(each["model"], each["version"]) for each in found] == [("word", "1.0.1"), ("word", "1.0.2")]
    assert [sum(bucket["count"] for bucket in each["buckets"]) for each in found] == [4, 4]
    (only,) = json.loads(manager.run("fleet-history", "f", "score", "--version", "1.0.2", "--json").stdout)
    assert only["version"] == "1.0.2"
    (agent,) = json.loads(manager.run("fleet-history", "f", "--model", "", "--json").stdout)
    assert sum(bucket["count"] for bucket in agent["buckets"]) == 8


def test_a_metric_without_samples_is_no_error_and_is_said(manager: Manager) -> None:
    done = manager.run("history", "f", "d3", "heap")
    assert done.stderr == "f/d3 has no samples of heap: without METRIC, what it has is listed\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("history", "f", "nobody"), "nobody"),
        (("history", "f", "d1", "heap", "--from", "yesterday"), "--from 'yesterday' is no time"),
        (("history", "f", "d1", "heap", "--from", "1h", "--to", "2h"), "--from 1h is not before --to 2h"),
        (("fleet-history", "nowhere"), "nowhere"),
        (("serve", "--history-days", "0"), "--history-days is 0: 1 or more"),
        (("serve", "--history-size", "much"), "--history-size 'much' is not a size: 500MB, 2GB"),
    ],
)
def test_a_mistake_is_one_line(manager: Manager, arguments: tuple[str, ...], reason: str) -> None:
    (line,) = manager.run(*arguments, status=2).stderr.splitlines()
    assert reason in line
