"""Each form of heartbeat, sent by a plain client: the call that arrives is the one that boto3 would have sent.

Field by field: boto3 sends the arguments of the table to a recorder of its own, and the two bodies are the same JSON.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import msgpack
import pytest

from gateway.demo.brokers.discovery import Broker
from tests.integration.heartbeat_forms import FORMS, Form, call
from tests.integration.testbed import MakeTestbed, Testbed
from tests.support.brokers import fleet_of_a_module
from tests.support.edge_manager import RecordingEdgeManager
from tests.support.payloads import EPOCH, HELLO, LAYOUT, TAG, T
from tests.support.plain_device import MQTT_3, MQTT_5, PlainDevice

FLEET = fleet_of_a_module("forms")
ByBoto3 = Callable[[str, dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def forms(broker: Broker, make_testbed: MakeTestbed) -> Testbed:
    """All devices are admitted at once: each admission makes the broker read its users again."""
    names = [f"{FLEET}/form-{index}" for index in range(len(FORMS))]
    broker.add_users([*names, *(f"{FLEET}/{name}" for name in ("results", "models", "elder"))])
    testbed = make_testbed(broker, FLEET)
    testbed.open()
    return testbed


@pytest.fixture(scope="module")
def by_boto3() -> Iterator[ByBoto3]:
    """The body that boto3 makes of the arguments of SendHeartbeat."""
    with RecordingEdgeManager() as service:
        client = boto3.client(
            "sagemaker-edge",
            endpoint_url=service.url,
            region_name="eu-central-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )

        def body(device: str, arguments: dict[str, Any]) -> dict[str, Any]:
            client.send_heartbeat(DeviceName=device, DeviceFleetName=FLEET, **arguments)
            return service.heartbeat(device)

        yield body


@pytest.mark.parametrize(("index", "form"), list(enumerate(FORMS)), ids=[form.name for form in FORMS])
def test_the_call_is_the_one_that_boto3_would_send(index: int, form: Form, forms: Testbed, by_boto3: ByBoto3) -> None:
    device = forms.device(f"form-{index}")
    if form.hello is not None:
        device.hello(*form.hello)
    sent = int(time.time())
    device.send("hb", form.heartbeat if isinstance(form.heartbeat, bytes) else msgpack.packb(form.heartbeat))
    came = forms.service.heartbeat(f"form-{index}")
    possible = [by_boto3(f"form-{index}", at(form.expected, second)) for second in range(sent, int(time.time()) + 1)]
    assert came in possible


def at(value: Any, arrival: int) -> Any:
    """The expected arguments with their relative times filled in."""
    if isinstance(value, list):
        return [at(each, arrival) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: arrival + each + 1 if name == "Timestamp" and each < 0 else at(each, arrival)
        for name, each in value.items()
    }


RESULT = ["deploy-7", "SUCCESS", "installed", 30, 5]
RESULT_NAMES = [
    ("DeploymentName", "deploy-7"),
    ("DeploymentStatus", "SUCCESS"),
    ("DeploymentStatusMessage", "installed"),
    ("DeploymentStartTime", T - 30),
    ("DeploymentEndTime", T - 5),
]
MODEL = ["kws", "keyword-spotting", "1.0", 1, 0, 1, "why", "how"]
MODEL_NAMES = [
    ("ModelHandle", "kws"),
    ("ModelName", "keyword-spotting"),
    ("ModelVersion", "1.0"),
    ("DesiredState", "DEPLOY"),
    ("State", "UNDEPLOY"),
    ("Status", "SUCCESS"),
    ("StatusReason", "why"),
    ("RollbackFailureReason", "how"),
]


def chosen(mask: tuple[bool, ...], elements: list[Any], names: list[tuple[str, Any]]) -> tuple[list[Any], Any]:
    """The array with nil where the mask says so, and the structure without those members."""
    array = [element if keep else None for keep, element in zip(mask, elements, strict=True)]
    return array, {name: value for keep, (name, value) in zip(mask, names, strict=True) if keep}


def test_a_result_with_every_combination_of_nil(forms: Testbed, by_boto3: ByBoto3) -> None:
    device = forms.device("results")
    device.hello(*HELLO)
    for mask in itertools.product((True, False), repeat=len(RESULT)):
        array, expected = chosen(mask, RESULT, RESULT_NAMES)
        device.heartbeat(TAG, 89, None, None, None, array)
        assert forms.service.heartbeat("results") == by_boto3("results", call(DeploymentResult=expected)), mask


def test_the_models_of_a_result_with_every_combination_of_nil_and_every_enum(forms: Testbed, by_boto3: ByBoto3) -> None:
    device = forms.device("models")
    rows = [chosen(mask, MODEL, MODEL_NAMES) for mask in itertools.product((True, False), repeat=len(MODEL))]
    enums = {1: "DEPLOY", 0: "UNDEPLOY", "DEPLOY": "DEPLOY", "PAUSE": "PAUSE", "": ""}
    statuses = {1: "SUCCESS", 0: "FAIL", "SUCCESS": "SUCCESS", "MAYBE": "MAYBE"}
    for (desired, state), status in itertools.product(itertools.product(enums, repeat=2), statuses):
        expected = {"DesiredState": enums[desired], "State": enums[state], "Status": statuses[status]}
        rows.append(([None, None, None, desired, state, status], expected))
    result = ["deploy-7", None, None, None, None, [array for array, _ in rows]]
    device.heartbeat(LAYOUT, T, None, None, None, result)
    models = [expected for _, expected in rows]
    wanted = call(DeploymentResult={"DeploymentName": "deploy-7", "DeploymentModels": models})
    assert forms.service.heartbeat("models") == by_boto3("models", wanted)


def test_a_message_that_waited_is_not_dated_late(forms: Testbed) -> None:
    """Without a clock the earliest epoch that a message implied counts: the second message came 100 s late."""
    device = forms.device("elder")
    device.hello(1, LAYOUT)
    before = int(time.time())
    device.heartbeat(1, 500, [1])
    first = forms.service.heartbeat("elder")["AgentMetrics"][0]["Timestamp"]
    assert before <= first <= int(time.time())
    device.heartbeat(1, 400, [2])
    assert forms.service.heartbeat("elder")["AgentMetrics"][0]["Timestamp"] == first - 100


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("protocol", [MQTT_3, MQTT_5], ids=["MQTT 3.1.1", "MQTT 5"])
def test_either_mqtt_either_qos(protocol: Any, qos: int, forms: Testbed, by_boto3: ByBoto3) -> None:
    name = f"v{protocol.value}-{qos}"
    device: PlainDevice = forms.device(name, protocol, qos)
    device.hello(*HELLO)
    device.heartbeat(TAG, 89, [81344], None, None, None, 77)
    assert device.ack(77) == (0, "")
    metric = {"Dimension": "sys", "MetricName": "free-heap", "Value": 81344, "Timestamp": EPOCH + 89}
    assert forms.service.heartbeat(name) == by_boto3(name, call([metric]))
