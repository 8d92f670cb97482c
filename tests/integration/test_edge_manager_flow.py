"""AWS's own flow, from the upload of a model to a device that runs it: all as processes, signed with access keys.

The commands are those of gateway/manager/README.md, as they are written there. Only fleet and address are others.
"""

import configparser
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.brokers.discovery import Broker
from tests.support import commands, pages, sdk_device
from tests.support.arrivals import DEADLINE_S
from tests.support.brokers import fleet_of_a_module
from tests.support.control_plane import refusal
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.jobs import compilation, ended_compilation, ended_packaging, packaging
from tests.support.manager_process import Manager
from tests.support.polling import until
from tests.support.processes import environment
from tests.support.sdk_device import SdkDevice

PAGE = "gateway/manager/README.md"
MODEL = b"TFL3" + bytes(range(256)) * 80
GOES_ON = re.compile(r'"(CREATING|STARTING|INPROGRESS)"')
"""For as long as an answer says so, the page has the reader repeat a describe-… command."""


@dataclass
class Flow:
    """The reader's folder, with the programs that the page's section asks for; `fleets`, one for each test."""

    folder: Path
    broker: Broker
    manager: Manager
    gateway: GatewayProcess
    fleets: list[str]

    def client(self, service: str, role: str) -> Any:
        return self.manager.client(service, *key_of(self.folder, role))

    def device(self, fleet: str) -> AbstractContextManager[SdkDevice]:
        """dev-1 on MicroPython, with what it kept in its folder when it was started before."""
        at, login = self.broker.address, self.broker.add_user(f"{fleet}/dev-1")
        self.flash(fleet).mkdir(exist_ok=True)
        arguments = [at.host, str(at.device_port), fleet, "dev-1", login.password]
        return sdk_device.running("micropython", "model_device.py", *arguments, folder=self.flash(fleet))

    def flash(self, fleet: str) -> Path:
        """What the device keeps."""
        return self.folder / fleet


def key_of(folder: Path, role: str) -> tuple[str, str]:
    """Id and secret, from the file that `keys add` wrote."""
    read = configparser.ConfigParser()
    read.read(folder / f"{role}.credentials")
    return read["default"]["aws_access_key_id"], read["default"]["aws_secret_access_key"]


def shell(folder: Path, line: str, exports: str = "") -> str:
    """What a line of the page writes to stdout."""
    text = f"{exports}\n{line}".replace("edge-gateway ", f"{sys.executable} -m gateway ")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = environment(PATH=path, EDGE_MANAGER_DATA=str(folder / "data"), AWS_PAGER="")
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def flow(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    folder = tmp_path_factory.mktemp("flow")
    for line in commands.lines(pages.block("keys-of-the-flow", PAGE)):
        shell(folder, line)
    fleets = [fleet_of_a_module(name) for name in ("page", "rejected")]
    manager = Manager(folder / "data")
    try:
        manager.start()
        variables = settings(broker.address, manager.url, ",".join(fleets), folder / "state", plan_ttl=0)
        del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
        variables["AWS_ENDPOINT_URL_S3"] = manager.url
        variables["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "gateway.credentials")
        with GatewayProcess(variables) as gateway:
            yield Flow(folder, broker, manager, gateway, fleets)
    finally:
        manager.stop()


def run_page(flow: Flow, fleet: str) -> Iterator[tuple[str, Any]]:
    """Each operation of `aws sagemaker` of the page, once it ran, with its answer; None where that is empty."""
    text = pages.block("flow", PAGE).replace("fleet-a", fleet).replace("http://127.0.0.1:9470", flow.manager.url)
    exports, *lines = commands.lines(text)
    for line in lines:
        answer = last_answer(flow.folder, line, exports)
        _, service, operation, *_ = line.split()
        if service == "sagemaker":
            yield operation, json.loads(answer or "null")


def last_answer(folder: Path, line: str, exports: str) -> str:
    """Of a describe-… the first one that does not go on."""
    deadline = time.monotonic() + DEADLINE_S
    while GOES_ON.search(answer := shell(folder, line, exports)) and " describe-" in line:
        assert time.monotonic() < deadline, answer
    return answer


def until_newer(describe: Callable[[], Any], member: str) -> None:
    """Wait until it has another value than now."""
    before = describe()[member]
    until(lambda: describe()[member] > before, lambda: f"{member} is {before} still")


def test_the_pages_commands_bring_a_model_to_a_device_which_keeps_it(flow: Flow) -> None:
    fleet = flow.fleets[0]
    (flow.folder / "model.tflite").write_bytes(MODEL)
    admin, edge = flow.client("sagemaker", "admin"), flow.client("sagemaker-edge", "gateway")
    of = {"DeviceFleetName": fleet, "DeviceName": "dev-1"}
    answers = []
    with ExitStack() as stack:
        for operation, answer in run_page(flow, fleet):
            answers.append((operation, answer))
            if operation == "register-devices":
                device = stack.enter_context(flow.device(fleet))
        assert device.next("result") == {
            "result": ["SUCCESS", None],
            "models": [[1, 1, None]],
            "calls": ["+" + MODEL[:16].decode()],
        }
        plan = device.next("plan")["plan"]
        until_newer(lambda: admin.describe_device(**of), "LatestHeartbeat")
    described = [answer for operation, answer in answers if operation.startswith("describe-")]
    compiled, packaged, before, after = described
    assert (compiled["CompilationJobStatus"], packaged["EdgePackagingJobStatus"]) == ("COMPLETED", "COMPLETED")
    assert status_of(before)["StageStatus"] == "READYTODEPLOY"
    status = status_of(after)
    del status["EdgeDeploymentStageStartTime"]
    assert status == {
        "StageStatus": "DEPLOYED",
        "EdgeDeploymentSuccessInStage": 1,
        "EdgeDeploymentPendingInStage": 0,
        "EdgeDeploymentFailedInStage": 0,
    }
    [summary] = dict(answers)["list-stage-devices"]["DeviceDeploymentSummaries"]
    assert (summary["DeviceName"], summary["DeviceDeploymentStatus"]) == ("dev-1", "DEPLOYED")
    assert summary["DeployedStageName"] == "first"
    assert flow.gateway.metrics()["blocks_published_total"] > 1

    # The plan is deleted, and the device lost its power.
    assert refusal(admin.describe_edge_deployment_plan, EdgeDeploymentPlanName="plan-1")[0] == "ValidationException"
    with flow.device(fleet) as device:
        assert device.next("calls") == {"plan": plan, "calls": []}, "the plan is carried out already"
    assert (flow.flash(fleet) / "wake-word").read_bytes() == MODEL
    [deployment] = edge.get_deployments(**of)["Deployments"]
    assert deployment["DeploymentName"].startswith("plan-1-")
    [definition] = deployment["Definitions"]
    assert definition == {
        "ModelHandle": "wake-word",
        "S3Url": "s3://uploads/out/package-1/wake-word-1.0.tflite",
        "Checksum": {"Type": "SHA1", "Sum": hashlib.sha1(MODEL, usedforsecurity=False).hexdigest()},
        "State": "DEPLOY",
    }


def status_of(plan: Any) -> dict[str, Any]:
    """The DeploymentStatus of its one stage."""
    [stage] = plan["Stages"]
    return dict(stage["DeploymentStatus"])


def test_a_model_that_a_device_rejects(flow: Flow) -> None:
    """By an operator's key, after an admin's made fleet, device and bucket."""
    fleet = flow.fleets[1]
    admin = flow.client("sagemaker", "admin")
    admin.create_device_fleet(DeviceFleetName=fleet, OutputConfig={"S3OutputLocation": "s3://rejected/out"})
    admin.register_devices(DeviceFleetName=fleet, Devices=[{"DeviceName": "dev-1"}])
    flow.client("s3", "admin").create_bucket(Bucket="rejected")
    shell(flow.folder, "edge-gateway manager keys add --role operator --credentials operator.credentials")
    flow.client("s3", "operator").put_object(Bucket="rejected", Key="model", Body=b"bad model")
    operator = flow.client("sagemaker", "operator")
    operator.create_compilation_job(**compilation("rejected", "s3://rejected/model"))
    assert ended_compilation(operator, "rejected")["CompilationJobStatus"] == "COMPLETED"
    operator.create_edge_packaging_job(**packaging("rejected", "rejected", ModelName="other"))
    assert ended_packaging(operator, "rejected")["EdgePackagingJobStatus"] == "COMPLETED"
    plan = {"EdgeDeploymentPlanName": "rejected"}
    models = [{"ModelHandle": "wake-word", "EdgePackagingJobName": "rejected"}]
    all_devices = {"DeviceSubsetType": "PERCENTAGE", "Percentage": 100}
    stage = {"StageName": "all", "DeviceSelectionConfig": all_devices}
    operator.create_edge_deployment_plan(**plan, ModelConfigs=models, DeviceFleetName=fleet, Stages=[stage])
    operator.start_edge_deployment_stage(**plan, StageName="all")

    def status() -> dict[str, Any]:
        return status_of(operator.describe_edge_deployment_plan(**plan))

    with flow.device(fleet) as device:
        assert device.next("result")["result"] == ["FAIL", "wake-word: it does not run"]
        until(lambda: status()["StageStatus"] not in ("STARTING", "INPROGRESS"), lambda: f"it goes on: {status()}")
    found = status()
    assert (found["StageStatus"], found["EdgeDeploymentFailedInStage"]) == ("FAILED", 1)
    assert found["EdgeDeploymentStatusMessage"] == "1 of 1 devices reported FAIL"
    [summary] = operator.list_stage_devices(**plan, StageName="all")["DeviceDeploymentSummaries"]
    assert summary["DeviceDeploymentStatus"] == "FAILED"
    assert summary["DeviceDeploymentStatusMessage"] == "wake-word: it does not run"
    assert [path.name for path in flow.flash(fleet).iterdir()] == ["state"]
