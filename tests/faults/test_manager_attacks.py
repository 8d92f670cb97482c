"""One device that makes the manager work: names without end, bodies that are dear to check, calls that are rejected."""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from gateway.manager.http.handler import MOST_REJECTED_LOGS
from gateway.manager.store import open_store
from gateway.manager.store.tables import DEVICE_LOG, DEVICE_METRICS, DEVICE_MODELS, RESULTS
from tests.faults import cluster
from tests.faults.cluster import FLEET, IN_TIME_S, Cluster, asked, until_more
from tests.faults.scenario import scaled
from tests.support.arrivals import DEADLINE_S
from tests.support.callers import Callers
from tests.support.polling import until

DEVICES = [f"d{number}" for number in range(20)]
EVIL = "evil"
ATTACKERS = 4
SECONDS = scaled(3.0, 10.0)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Cluster]:
    with cluster.running(tmp_path / "manager", None, 1) as made:
        made.run("register", FLEET, EVIL, *DEVICES)
        yield made


def attack(made: Cluster, body: Callable[[int], bytes], least: int = 1) -> tuple[Counter[int], float]:
    """For SECONDS as fast as it goes, and `least` calls of each attacker, beside calls of the other devices, which are
    all answered meanwhile. How often which status came, and how many seconds it took."""
    where, began = urlsplit(made.urls[0]), time.monotonic()

    def call(first: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=DEADLINE_S)
        for number in itertools.count(first, ATTACKERS):
            connection.request("POST", "/SendHeartbeat", body(number))
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
            if statuses.total() >= least and time.monotonic() - began > SECONDS and others_are_answered.is_set():
                break
        connection.close()
        return statuses

    others_are_answered = threading.Event()
    with Callers(made.urls, FLEET, DEVICES, rate=10) as callers, ThreadPoolExecutor(ATTACKERS) as attackers:
        callers.start()
        until_more(callers, len(DEVICES))
        attacks = [attackers.submit(call, number) for number in range(ATTACKERS)]
        try:
            assert asked(made.managers[0], "/healthz") == 200
            until_more(callers, 5 * len(DEVICES))
        finally:
            others_are_answered.set()
        statuses = sum((each.result() for each in attacks), Counter[int]())
        took = time.monotonic() - began
        callers.stop()
        assert set(callers.statuses) == {200}
        assert callers.slowest[200] < IN_TIME_S
        made.check(callers)
    return statuses, took


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
    accepted = attack(alone, names, least=20)[0][200]
    store = open_store(alone.place, create=False, read_only=True)
    try:
        device = store.read(lambda transaction: transaction.device_id(FLEET, EVIL))
        counts = {
            table.name: store.read(
                lambda transaction: transaction.connection.scalar(
                    sa.select(sa.func.count()).select_from(table).where(table.c.device == device)  # noqa: B023
                )
            )
            for table in (DEVICE_METRICS, DEVICE_MODELS, RESULTS)
        }
        told = store.read(
            lambda transaction: transaction.connection.scalars(
                sa.select(DEVICE_LOG.c.detail).where(DEVICE_LOG.c.device == device, DEVICE_LOG.c.kind == "limit")
            ).all()
        )
    finally:
        store.close()
    assert counts == {"device_metrics": 1000, "device_models": 200, "results": min(accepted, 200)}
    kinds = Counter(json.loads(each)["what"] for each in told)
    assert kinds["metrics"] == kinds["models"] == 1
    assert sum(kinds.values()) <= 3
    said = "a device reports more names than are kept of one"
    until(lambda: alone.log.count(said) == sum(kinds.values()), lambda: f"{kinds}; {alone.log}")
    alone.run("status", FLEET)


@pytest.mark.parametrize("member", [b"[]", b"{}"])
def test_one_device_sends_bodies_that_are_dear_to_check(alone: Cluster, member: bytes) -> None:
    """Four megabytes of unknown members are refused; less are checked beside the calls of others."""
    start = heartbeat()[:-1] + b', "x": ['
    whole = [start + b",".join([member] * number) + b"]}" for number in (1_300_000, 100_000)]
    statuses, _ = attack(alone, lambda number: whole[number % 2])
    assert set(statuses) == {200, 413}


def test_rejected_calls_do_not_fill_the_log(alone: Cluster) -> None:
    statuses, took = attack(alone, lambda number: heartbeat(DeviceName="nobody"))
    assert set(statuses) == {400}
    assert alone.log.count("call rejected") <= MOST_REJECTED_LOGS * (took + 2)
