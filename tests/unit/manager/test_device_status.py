"""What is kept of one SendHeartbeat."""

import pytest

from gateway.manager.api.device_status import MetricKey, ModelTimes, Sample, latest_values, to_us

NOW = 1_795_458_600.0
HEAP = MetricKey("", "", "sys", "free-heap")


def metric(value: object = 1, at: object = 5, name: str = "free-heap") -> dict[str, object]:
    return {"Dimension": "sys", "MetricName": name, "Value": value, "Timestamp": at}


def heartbeat(**members: object):
    return latest_values({"AgentVersion": "1", "DeviceName": "d", "DeviceFleetName": "f", **members}, NOW)


def test_of_several_samples_the_newest_is_kept():
    kept = heartbeat(AgentMetrics=[metric(1, 5), metric(2, 9), metric(3, 7)])
    assert kept.metrics == {HEAP: Sample(2.0, 9.0)}


def test_of_samples_with_one_time_the_last_is_kept():
    assert heartbeat(AgentMetrics=[metric(1, 5), metric(2, 5)]).metrics == {HEAP: Sample(2.0, 5.0)}


def test_every_sample_is_kept_with_its_own_time():
    model = {"ModelName": "kws1", "ModelVersion": "1", "ModelMetrics": [metric(4, 2)]}
    kept = heartbeat(AgentMetrics=[metric(1, 5), metric(2, 9), metric(1, 5), {"Value": 3}], Models=[model])
    assert kept.samples == [
        (HEAP, 5.0, 1.0),
        (HEAP, 9.0, 2.0),
        (HEAP, 5.0, 1.0),
        (MetricKey("", "", "", ""), NOW, 3.0),
        (MetricKey("kws1", "1", "sys", "free-heap"), 2.0, 4.0),
    ]
    assert all(type(number) is float for _, *numbers in kept.samples for number in numbers)


def test_what_the_device_announces_is_no_sample():
    announced = [{"Dimension": "liveness", "MetricName": name, "Value": 1} for name in ("state", "seconds")]
    of_model = {"ModelName": "kws1", "ModelVersion": "1", "ModelMetrics": announced[:1]}
    assert heartbeat(AgentMetrics=announced).samples == []
    assert heartbeat(AgentMetrics=announced[1:]).samples == []
    kept = heartbeat(AgentMetrics=[metric(), *announced], Models=[of_model])
    assert [key for key, _, _ in kept.samples] == list(kept.metrics)
    assert list(kept.metrics) == [HEAP, MetricKey("kws1", "1", "liveness", "state")]


def test_what_is_left_out():
    kept = heartbeat(AgentMetrics=[{"Value": 7}, {"MetricName": "free-heap"}])
    assert kept.metrics == {MetricKey("", "", "", ""): Sample(7.0, NOW)}
    assert (kept.deployment, kept.result, kept.models) == (None, None, {})


def test_a_models_metrics_are_its_own_and_its_times_the_latest():
    one = {"ModelName": "kws1", "ModelVersion": "1", "LatestSampleTime": 5, "ModelMetrics": [metric()]}
    two = {"ModelName": "kws1", "ModelVersion": "1", "LatestSampleTime": 4, "LatestInference": 6}
    kept = heartbeat(AgentMetrics=[metric(2)], Models=[one, two])
    assert kept.models == {("kws1", "1"): ModelTimes(5, 6)}
    assert kept.metrics == {
        HEAP: Sample(2.0, 5.0),
        MetricKey("kws1", "1", "sys", "free-heap"): Sample(1.0, 5.0),
    }


def test_equal_results_are_equal_whatever_the_order_of_their_members():
    one = heartbeat(DeploymentResult={"DeploymentName": "x", "DeploymentStatus": "SUCCESS"})
    two = heartbeat(DeploymentResult={"DeploymentStatus": "SUCCESS", "DeploymentName": "x"})
    assert one.result == two.result
    assert one.deployment == "x"


def test_a_result_without_a_name_is_kept_under_the_empty_one():
    assert heartbeat(DeploymentResult={}).deployment == ""


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [
        (0, 0),
        (1_796_000_000, 1_796_000_000_000_000),
        (1_796_000_000.123457, 1_796_000_000_123_457),
        (8_450_963.356971, 8_450_963_356_971),  # times a million it is less by 1e-9
        (-0.5, -500_000),
        (-62_135_596_800.0, -62_135_596_800_000_000),
        (253_402_300_799.0, 253_402_300_799_000_000),
    ],
)
def test_seconds_become_microseconds(seconds, microseconds):
    assert to_us(seconds) == microseconds
