"""What is kept of one SendHeartbeat."""

from gateway.manager.api.device_status import MetricKey, Sample, Times, condense

NOW = 1_795_458_600.0
HEAP = MetricKey("", "", "sys", "free-heap")


def metric(value: object = 1, at: object = 5, name: str = "free-heap") -> dict[str, object]:
    return {"Dimension": "sys", "MetricName": name, "Value": value, "Timestamp": at}


def beat(**members: object):
    return condense({"AgentVersion": "1", "DeviceName": "d", "DeviceFleetName": "f", **members}, NOW)


def test_of_several_samples_the_newest_is_kept():
    kept = beat(AgentMetrics=[metric(1, 5), metric(2, 9), metric(3, 7)])
    assert kept.metrics == {HEAP: Sample(2.0, 9.0)}


def test_of_samples_of_one_time_the_last_is_kept():
    assert beat(AgentMetrics=[metric(1, 5), metric(2, 5)]).metrics == {HEAP: Sample(2.0, 5.0)}


def test_what_is_left_out():
    kept = beat(AgentMetrics=[{"Value": 7}, {"MetricName": "free-heap"}])
    assert kept.metrics == {MetricKey("", "", "", ""): Sample(7.0, NOW)}
    assert (kept.deployment, kept.result, kept.models) == (None, None, {})


def test_a_models_metrics_are_its_own_and_its_times_the_latest():
    one = {"ModelName": "kws1", "ModelVersion": "1", "LatestSampleTime": 5, "ModelMetrics": [metric()]}
    two = {"ModelName": "kws1", "ModelVersion": "1", "LatestSampleTime": 4, "LatestInference": 6}
    kept = beat(AgentMetrics=[metric(2)], Models=[one, two])
    assert kept.models == {("kws1", "1"): Times(5, 6)}
    assert kept.metrics == {
        HEAP: Sample(2.0, 5.0),
        MetricKey("kws1", "1", "sys", "free-heap"): Sample(1.0, 5.0),
    }


def test_equal_results_are_equal_whatever_the_order_of_their_members():
    one = beat(DeploymentResult={"DeploymentName": "x", "DeploymentStatus": "SUCCESS"})
    two = beat(DeploymentResult={"DeploymentStatus": "SUCCESS", "DeploymentName": "x"})
    assert one.result == two.result
    assert one.deployment == "x"


def test_a_result_without_a_name_is_kept_under_the_empty_one():
    assert beat(DeploymentResult={}).deployment == ""
