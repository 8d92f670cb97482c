"""The manager's metrics: each count under its name and labels, all from 0 on, and nothing that a caller makes up."""

import sys
import threading
import time
from itertools import repeat

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from gateway.manager.errors import ApiError, validation_error
from gateway.manager.metrics import ManagerMetrics
from gateway.manager.store.history import ROW, Usage
from gateway.manager.store.totals import Totals

TOTALS = Totals(
    devices={("a", "silent"): 3, ("b", "connected"): 4},
    rollouts={("a", "stopped"): 1},
    models={("a", "kws", "1.0"): 2},
    history=Usage(chunks=5, samples=6, bytes=7),
    recent_rows=8,
    lag=9.5,
    database_bytes=10,
)


def samples(metrics: ManagerMetrics) -> dict[str, float]:
    """Name and labels' values, in order of the labels -> value; without the prefix."""
    families = text_string_to_metric_families(metrics.render().decode())
    found = [sample for family in families for sample in family.samples]
    return {
        ",".join([each.name.removeprefix("edge_manager_"), *dict(sorted(each.labels.items())).values()]): each.value
        for each in found
    }


def test_what_is_counted_of_a_group():
    metrics = ManagerMetrics()
    now = time.perf_counter()
    outputs = [None, ApiError("ServiceUnavailableException", "", 503), None]
    metrics.count_group("heartbeats", repeat("SendHeartbeat"), [now - 60, now - 50, now - 2], now - 1, outputs)
    metrics.count_group("reads", ["GetDeployments", "GetDeviceRegistration"], [now, now], now, [b"{}", b"{}"])
    found = samples(metrics)
    assert found["calls_total,SendHeartbeat,accepted"] == 2
    assert found["calls_total,GetDeployments,accepted"] == found["calls_total,GetDeviceRegistration,accepted"] == 1
    assert found["call_seconds_count,SendHeartbeat"] == 2, "one that failed says nothing of how long a call takes"
    assert found["call_seconds_bucket,1.0,SendHeartbeat"] == 0
    assert found["call_seconds_bucket,10.0,SendHeartbeat"] == 1, "a machine that is busy adds some seconds"
    assert found["call_seconds_bucket,+Inf,SendHeartbeat"] == 2
    assert 62 <= found["call_seconds_sum,SendHeartbeat"] < 100
    assert found["group_calls_bucket,heartbeats,2.0"] == 0
    assert found["group_calls_bucket,heartbeats,5.0"] == 1
    assert found["group_calls_sum,reads"] == 2
    assert found["group_seconds_bucket,heartbeats,0.1"] == 0
    assert found["group_seconds_count,heartbeats"] == 1


def test_two_threads_that_count_a_kind_of_group_lose_nothing():
    """Plans are read in one thread and marked as fetched in another."""
    metrics, groups = ManagerMetrics(), 20_000

    def count() -> None:
        for _ in range(groups):
            metrics.count_group("reads", ["GetDeployments"], [0.0], 0.0, [b"{}"])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=count) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(interval)
    found = samples(metrics)
    assert found["calls_total,GetDeployments,accepted"] == 2 * groups
    assert found["group_calls_sum,reads"] == found["group_calls_count,reads"] == 2 * groups


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (validation_error("x"), "invalid"),
        (ApiError("SerializationException", ""), "invalid"),
        (ApiError("RequestEntityTooLargeException", "", 413), "invalid"),
        (ApiError("InvalidSignatureException", "", 403), "unauthorized"),
        (ApiError("IncompleteSignatureException", "", 400), "unauthorized"),
        (ApiError("ServiceUnavailableException", "", 503), "unavailable"),
        (ApiError("InternalServiceException", ""), "failed"),
    ],
    ids=lambda value: value.code if isinstance(value, ApiError) else value,
)
def test_an_error_counts_by_its_kind(error, outcome):
    metrics = ManagerMetrics()
    metrics.count_error("SendHeartbeat", error)
    counted = {name: value for name, value in samples(metrics).items() if name.startswith("calls_total") and value}
    assert counted == {f"calls_total,SendHeartbeat,{outcome}": 1}


def test_names_that_callers_make_up_are_one_label():
    metrics = ManagerMetrics()
    before = len(samples(metrics))
    for name in ("None", "a" * 80, ""):
        metrics.count_error(name, ApiError("UnknownOperationException", "", 404))
    found = samples(metrics)
    assert found["calls_total,other,invalid"] == 3
    assert len(found) == before


def test_what_others_hold_is_asked_for_when_it_is_read():
    metrics = ManagerMetrics()
    waiting = [1, 2]
    metrics.waiting = {"heartbeats": waiting.__len__}
    metrics.connections, metrics.connections_limit = (lambda: 5), 9
    metrics.transaction_seconds = {"read": 0.25}
    metrics.history_limit = 2000
    metrics.count_refused("head")
    waiting.append(3)
    found = samples(metrics)
    assert found["waiting_calls,heartbeats"] == 3
    assert (found["connections"], found["connections_limit"]) == (5, 9)
    assert found["database_transaction_seconds,read"] == 0.25
    assert found["history_limit_bytes"] == 2000
    assert (found["requests_refused_total,head"], found["requests_refused_total,time"]) == (1, 0)


def test_what_the_database_has():
    metrics = ManagerMetrics()
    metrics.totals = TOTALS
    found = samples(metrics)
    assert found["database_up"] == 1
    assert (found["devices,a,silent"], found["devices,a,connected"], found["devices,b,connected"]) == (3, 0, 4)
    assert (found["rollouts,a,stopped"], found["rollouts,a,running"]) == (1, 0)
    assert not [name for name in found if name.startswith("rollouts,b")], "no deployment was ever made there"
    assert found["devices_by_model,a,kws,1.0"] == 2
    names = ("chunks", "samples", "bytes", "recent_rows", "lag_seconds")
    assert [found[f"history_{name}"] for name in names] == [5, 6, 7 + 5 * ROW, 8, 9.5]
    assert found["database_bytes"] == 10


def test_of_a_database_that_is_away_nothing_old_is_told():
    metrics = ManagerMetrics()
    found = samples(metrics)
    assert found["database_up"] == 0
    assert [name for name in found if name.startswith(("devices", "rollouts", "history", "database_bytes"))] == []
    assert found["calls_total,SendHeartbeat,accepted"] == 0


def test_two_managers_and_the_process_default_do_not_mix():
    one, other = ManagerMetrics(), ManagerMetrics()
    one.count_refused("time")
    assert samples(other)["requests_refused_total,time"] == 0
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("edge_manager")]
