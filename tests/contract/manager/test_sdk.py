"""The Edge API as boto3 and awscli see it, over a real process."""

import contextlib
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from gateway.demo.brokers.address import free_ports
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import COMMAND, Manager
from tests.support.polling import until
from tests.support.processes import environment, line, running

WHO = {"DeviceFleetName": "f", "DeviceName": "d"}
ARGUMENTS = ["--device-fleet-name", "f", "--device-name", "d"]
WHEN = datetime(2026, 11, 24, 10, 0, 0, 250_000, tzinfo=UTC)
METRIC = {"Dimension": "sys", "MetricName": "free-heap", "Value": 81344.5, "Timestamp": WHEN}
RESULT = {
    "DeploymentName": "kws-1",
    "DeploymentStatus": "SUCCESS",
    "DeploymentStatusMessage": "caf\u00e9 \u2603",
    "DeploymentStartTime": WHEN,
    "DeploymentModels": [{"ModelHandle": "kws", "DesiredState": "DEPLOY", "State": "DEPLOY", "Status": "SUCCESS"}],
}
FULL = {
    "AgentVersion": "1.0.0",
    "AgentMetrics": [METRIC],
    "Models": [
        {"ModelName": "keyword-spotting", "ModelVersion": "1.0", "LatestSampleTime": WHEN, "ModelMetrics": [METRIC]}
    ],
    "DeploymentResult": RESULT,
}


def error_of(call: Callable[..., object], **members: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    assert response["Error"]["Message"]
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_registration(manager: Manager) -> None:
    edge = manager.client("sagemaker-edge")
    known = edge.get_device_registration(**WHO)
    assert (known["DeviceRegistration"], known["CacheTTL"]) == ("REGISTERED", "300")
    unknown = edge.get_device_registration(DeviceFleetName="f", DeviceName="other")
    assert (unknown["DeviceRegistration"], unknown["CacheTTL"]) == ("NOT_REGISTERED", "60")
    assert known["ResponseMetadata"]["RequestId"] != unknown["ResponseMetadata"]["RequestId"]


def test_a_full_heartbeat_is_shown_by_status(manager: Manager) -> None:
    manager.run("register", "full", "d")
    answer = manager.client("sagemaker-edge").send_heartbeat(DeviceFleetName="full", DeviceName="d", **FULL)
    assert set(answer) == {"ResponseMetadata"}
    (report,) = json.loads(manager.run("status", "full", "--json").stdout)
    assert (report["agent_version"], report["accepted"]) == ("1.0.0", 1)
    assert [(each["model"], each["value"], each["at"]) for each in report["metrics"]] == [
        ("", 81344.5, WHEN.timestamp()),
        ("keyword-spotting", 81344.5, WHEN.timestamp()),
    ]
    (result,) = report["results"]
    assert result["result"] == RESULT | {"DeploymentStartTime": WHEN.timestamp()}
    table = manager.run("status", "full").stdout
    for text in ("full/d", "sys/free-heap = 81344.5", "keyword-spotting 1.0", "kws-1: SUCCESS (caf\u00e9 \u2603)"):
        assert text in table


def test_what_botocore_accepts_and_the_service_rejects(manager: Manager) -> None:
    edge = manager.client("sagemaker-edge")
    assert error_of(edge.get_deployments, DeviceFleetName="f", DeviceName="a b") == ("ValidationException", 400)
    assert error_of(edge.send_heartbeat, AgentVersion="x" * 65, **WHO) == ("ValidationException", 400)
    nan = METRIC | {"Value": float("nan")}
    assert error_of(edge.send_heartbeat, AgentVersion="1", AgentMetrics=[nan], **WHO) == ("SerializationException", 400)


@pytest.mark.parametrize("operation", ["send_heartbeat", "get_deployments"])
def test_a_device_that_is_not_registered(manager: Manager, operation: str) -> None:
    more = {"AgentVersion": "1"} if operation == "send_heartbeat" else {}
    call = getattr(manager.client("sagemaker-edge"), operation)
    assert error_of(call, DeviceFleetName="f", DeviceName="nobody", **more) == ("ValidationException", 400)


def test_awscli(manager: Manager) -> None:
    registration = manager.aws("sagemaker-edge", "get-device-registration", *ARGUMENTS)
    assert json.loads(registration.stdout)["DeviceRegistration"] == "REGISTERED"
    heartbeat = manager.aws("sagemaker-edge", "send-heartbeat", *ARGUMENTS, "--agent-version", "9.9")
    assert (heartbeat.returncode, heartbeat.stdout) == (0, "")
    (report,) = json.loads(manager.run("status", "f", "--json").stdout)
    assert report["agent_version"] == "9.9"
    plans = manager.aws("sagemaker-edge", "get-deployments", *ARGUMENTS)
    assert "Deployments" in json.loads(plans.stdout)


def test_signatures(guarded: Manager) -> None:
    assert guarded.client("sagemaker-edge").get_deployments(**WHO)["Deployments"] == []
    wrong = guarded.client("sagemaker-edge", secret="wrong")
    assert error_of(wrong.get_deployments, **WHO) == ("InvalidSignatureException", 403)
    stranger = guarded.client("sagemaker-edge", access="STRANGER")
    assert error_of(stranger.get_deployments, **WHO) == ("UnrecognizedClientException", 403)


def test_signatures_of_awscli(guarded: Manager) -> None:
    assert guarded.aws("sagemaker-edge", "get-deployments", *ARGUMENTS).returncode == 0
    wrong = guarded.aws("sagemaker-edge", "get-deployments", *ARGUMENTS, secret="wrong")
    assert "InvalidSignatureException" in wrong.stderr
    assert wrong.returncode != 0


def test_what_was_answered_survives_kill_9(make_manager: Callable[..., Manager]) -> None:
    manager = make_manager()
    manager.run("register", "f", "d")
    for round_ in range(1, 4):
        edge = manager.client("sagemaker-edge")
        for count in range(20):
            edge.send_heartbeat(**WHO, **FULL | {"AgentVersion": f"{round_}.{count}"})
        assert manager.end(signal.SIGKILL) == -signal.SIGKILL
        (report,) = manager.status()
        assert (report["accepted"], report["agent_version"]) == (20 * round_, f"{round_}.19")
        assert [(each["deployment"], each["told"]) for each in report["results"]] == [("kws-1", 20 * round_)]
        manager.start()
    assert manager.client("sagemaker-edge").get_device_registration(**WHO)["DeviceRegistration"] == "REGISTERED"


def test_kill_9_in_the_middle_of_the_work(make_manager: Callable[..., Manager]) -> None:
    """What was answered is stored; what was in flight may be."""
    manager = make_manager()
    manager.run("register", "f", "d")
    edge, answered, warm = manager.client("sagemaker-edge"), [], threading.Event()

    def send_until_it_breaks() -> None:
        with contextlib.suppress(BotoCoreError):
            while True:
                edge.send_heartbeat(**WHO, **FULL)
                answered.append(1)
                if len(answered) == 50:
                    warm.set()

    sender = threading.Thread(target=send_until_it_breaks)
    sender.start()
    assert warm.wait(DEADLINE_S)
    manager.end(signal.SIGKILL)
    sender.join(30)
    (report,) = manager.status()
    assert len(answered) <= report["accepted"] <= len(answered) + 1


def test_sigterm_ends_it_cleanly(make_manager: Callable[..., Manager]) -> None:
    """An idle connection, which every SDK keeps, does not hold it."""
    manager = make_manager()
    edge = manager.client("sagemaker-edge")
    assert edge.get_device_registration(**WHO)["DeviceRegistration"] == "NOT_REGISTERED"
    assert manager.end(signal.SIGTERM) == 0


def test_a_log_that_cannot_be_written_changes_no_answer(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with (
        open("/dev/full", "w") as full,
        running(command, stdout=subprocess.PIPE, stderr=full, env=environment()) as process,
    ):
        manager = Manager(tmp_path / "data", url=json.loads(line(process, "URL of the manager"))["url"])
        edge = manager.client("sagemaker-edge")
        assert error_of(edge.send_heartbeat, **WHO, AgentVersion="1.0.0") == ("ValidationException", 400)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_a_start_line_that_cannot_be_written_stops_nothing(tmp_path: Path, redirection: str) -> None:
    (port,) = free_ports(1, "127.0.0.1")
    serve = [*COMMAND, "serve", "--data", str(tmp_path / "data"), "--port", str(port)]
    with running(["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *serve], env=environment()) as process:
        until(lambda: answers("127.0.0.1", port), lambda: "it does not listen")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False
