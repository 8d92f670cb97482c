"""Metrics: each count under its name and labels, known ones from 0 on, and two gateways do not mix."""

import re

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import Code
from gateway.ops.metrics import DEPRECATED, Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    found = [sample for family in families for sample in family.samples]
    return {",".join([sample.name, *dict(sorted(sample.labels.items())).values()]): sample.value for sample in found}


def count_everything(metrics: Metrics) -> None:
    metrics.received["hb"].inc()
    metrics.rejected[Code.UNKNOWN_TAG].inc(2)
    metrics.acknowledged.inc(3)
    metrics.plans_published.inc(4)
    metrics.calls["SendHeartbeat", "accepted"].inc(5)
    metrics.retries["SendHeartbeat", "throttled"].inc(6)
    metrics.call_seconds["SendHeartbeat"].observe(0.02)
    metrics.heartbeats_accepted.inc(7)
    metrics.connected.set(1)
    metrics.reading_paused.set(1)
    metrics.unacknowledged.set(8)
    metrics.devices.set(10)
    metrics.blocks_published.inc(9)
    metrics.dead_letters_kept.inc(11)
    metrics.unacknowledged_bytes.set_function(lambda: 12)
    metrics.rate_limited.inc(13)
    metrics.breaker_opened.inc(14)
    metrics.concurrency_limit.set(15)
    metrics.devices_waiting.set_function(lambda: 16)


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ("messages_received_total,hb", 1),
        ("messages_received_total,read", 0),
        ("messages_rejected_total,unknown_tag", 2),
        ("messages_rejected_total,gave_up", 0),
        ("messages_acknowledged_total", 3),
        ("plans_published_total", 4),
        ("calls_total,SendHeartbeat,accepted", 5),
        ("call_retries_total,SendHeartbeat,throttled", 6),
        ("call_seconds_count,SendHeartbeat", 1),
        ("call_seconds_bucket,0.025,SendHeartbeat", 1),
        ("call_seconds_bucket,0.01,SendHeartbeat", 0),
        ("heartbeats_accepted_total", 7),
        ("connected", 1),
        ("reading_paused", 1),
        ("unacknowledged_messages", 8),
        ("blocks_published_total", 9),
        ("devices", 10),
        ("dead_letters_kept_total", 11),
        ("unacknowledged_bytes", 12),
        ("messages_rate_limited_total", 13),
        ("circuit_breaker_opened_total", 14),
        ("concurrent_calls_limit", 15),
        ("devices_waiting_to_call", 16),
    ],
)
def test_each_count_has_its_name(sample: str, value: float) -> None:
    metrics = Metrics()
    count_everything(metrics)
    assert samples(metrics)[f"edge_gateway_{sample}"] == value


def test_a_label_has_one_counter() -> None:
    metrics = Metrics()
    assert metrics.calls["GetDeployments", "failed"] is metrics.calls["GetDeployments", "failed"]


def test_two_gateways_and_the_process_default_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    count_everything(one)
    assert samples(other)["edge_gateway_messages_acknowledged_total"] == 0
    assert REGISTRY.get_sample_value("edge_gateway_messages_acknowledged_total") is None


def test_every_code_of_an_error_is_exported_from_the_start() -> None:
    assert set(Metrics().rejected) == set(Code) - {Code.ACCEPTED}


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ("messages_settled_total", 3),
        ("unsettled_messages", 8),
        ("unsettled_bytes", 12),
        ("messages_refused_total,unknown_tag", 2),
        ("messages_refused_total,gave_up", 0),
        ("messages_over_rate_total", 13),
        ("heartbeats_merged_total", 7),
        ("breaker_opened_total", 14),
        ("call_window", 15),
        ("devices_in_line", 16),
    ],
)
def test_an_old_name_has_the_value_of_the_new_one(sample: str, value: float) -> None:
    metrics = Metrics()
    count_everything(metrics)
    assert samples(metrics)[f"edge_gateway_{sample}"] == value


def test_the_help_of_an_old_name_says_which_to_use() -> None:
    text = Metrics().render().decode()
    for old, new in DEPRECATED.items():
        pattern = rf"^# HELP edge_gateway_{old}(_total)? Deprecated: use edge_gateway_{new}(_total)?$"
        (suffixes,) = re.findall(pattern, text, re.MULTILINE)
        assert suffixes[0] == suffixes[1]
