"""One device that makes the manager work: names without end, bodies that are dear to check, calls that are rejected."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from gateway.manager.store import open_store
from gateway.manager.store.tables import DEVICE_LOG, LATEST, MODELS, RESULTS
from tests.faults import cluster
from tests.faults.cluster import FLEET, IN_TIME_S, Cluster, asked, until_more
from tests.faults.scenario import scaled
from tests.support.arrivals import DEADLINE_S
from tests.support.callers import Callers

DEVICES = [f"d{number}" for number in range(20)]
EVIL = "evil"
ATTACKERS = 4
SECONDS = scaled(3.0, 10.0)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Cluster]:
    with cluster.running(tmp_path / "manager", None, 1) as made:
        made.run("register", FLEET, EVIL, *DEVICES)
        yield made


def attack(made: Cluster, body: Callable[[int], bytes], least: int = 0) -> Counter[int]:
    """As fast as it goes, and so many calls, beside the calls of the other devices, which are answered in time. How
    often which status came."""
    where, statuses = urlsplit(made.urls[0]), Counter[int]()

    def call(number: int) -> None:
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=DEADLINE_S)
        while time.monotonic() < end or statuses.total() < least:
            connection.request("POST", "/SendHeartbeat", body(number))
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
            number += ATTACKERS
        connection.close()

    with Callers(made.urls, FLEET, DEVICES, rate=10) as callers:
        callers.start()
        until_more(callers, len(DEVICES))
        end = time.monotonic() + SECONDS
        threads = [threading.Thread(target=call, args=(number,)) for number in range(ATTACKERS)]
        for each in threads:
            each.start()
        assert asked(made.managers[0], "/healthz") == 200
        for each in threads:
            each.join()
        callers.stop()
        assert set(callers.statuses) == {200}
        assert callers.slowest[200] < IN_TIME_S
        made.check(callers)
    return statuses


def heartbeat(**members: object) -> bytes:
    return json.dumps({"AgentVersion": "1", "DeviceFleetName": FLEET, "DeviceName": EVIL} | members).encode()


def names(number: int) -> bytes:
    """Of metrics, models and deployments, all of them new; at times between the years 1 and 9999."""
    at = random.Random(number)
    metrics = [
        {"MetricName": f"name-{number}-{each}", "Value": each, "Timestamp": at.uniform(-6e10, 2e11)}
        for each in range(20)
    ]
    models = [
        {"ModelName": f"model-{number}-{each}", "ModelVersion": "1", "LatestSampleTime": 1.0} for each in range(10)
    ]
    result = {"DeploymentName": f"deployment-{number}", "DeploymentStatus": "FAIL"}
    return heartbeat(AgentMetrics=metrics, Models=models, DeploymentResult=result)


def test_one_device_makes_up_names(alone: Cluster) -> None:
    """The oldest go, which is told once."""
    accepted = attack(alone, names, least=60)[200]
    store = open_store(alone.place, create=False, read_only=True)
    try:
        device = store.read(lambda transaction: transaction.device_id(FLEET, EVIL))
        counts = {
            table.name: store.read(
                lambda transaction: transaction.connection.scalar(
                    sa.select(sa.func.count()).select_from(table).where(table.c.device == device)  # noqa: B023
                )
            )
            for table in (LATEST, MODELS, RESULTS)
        }
        told = store.read(
            lambda transaction: transaction.connection.scalars(
                sa.select(DEVICE_LOG.c.detail).where(DEVICE_LOG.c.device == device, DEVICE_LOG.c.kind == "limit")
            ).all()
        )
    finally:
        store.close()
    assert counts == {"latest": 1000, "models": 200, "results": min(accepted, 200)}
    kinds = Counter(json.loads(each)["what"] for each in told)
    assert kinds["metrics"] == kinds["models"] == 1
    assert alone.log.count("a device reports more names than are kept of one") == sum(kinds.values()) <= 3
    alone.run("status", FLEET)


@pytest.mark.parametrize("member", [b"[]", b"{}"])
def test_one_device_sends_bodies_that_are_dear_to_check(alone: Cluster, member: bytes) -> None:
    """Four megabytes of unknown members are refused; less are checked beside the calls of others."""
    start = heartbeat()[:-1] + b', "x": ['
    whole = [start + b",".join([member] * number) + b"]}" for number in (1_300_000, 100_000)]
    statuses = attack(alone, lambda number: whole[number % 2])
    assert set(statuses) == {200, 413}


def test_rejected_calls_do_not_fill_the_log(alone: Cluster) -> None:
    began = time.monotonic()
    statuses = attack(alone, lambda number: heartbeat(DeviceName="nobody"))
    seconds = time.monotonic() - began
    assert set(statuses) == {400}
    assert alone.log.count("call rejected") <= 20 * (seconds + 1)
