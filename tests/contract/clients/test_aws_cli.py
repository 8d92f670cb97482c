"""aws-cli, unmodified: each operation of the control plane once, in the order of AWS's own flow."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.manager.api.operation_names import CONTROL_OPERATIONS
from tests.support.arrivals import DEADLINE_S
from tests.support.polling import until
from tests.support.served_manager import ServedManager

AWS = str(Path(sys.executable).parent / "aws")
ROLE = "arn:aws:iam::000000000000:role/edge"
STAGE = {
    "StageName": "all",
    "DeviceSelectionConfig": {"DeviceSubsetType": "PERCENTAGE", "Percentage": 100},
    "DeploymentConfig": {"FailureHandlingPolicy": "ROLLBACK_ON_FAILURE"},
}


class AwsCli:
    """Calls it as a person would; `used` has the operations that were called."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self.used: set[str] = set()

    def s3(self, *arguments: str) -> str:
        return self._run("s3", *arguments)

    def __call__(self, command: str, or_fails: str = "", **members: Any) -> dict[str, Any]:
        """One operation of `aws sagemaker`; the members are options, JSON where they are structures.

        `or_fails`: a part of the error that it may end with.
        """
        options: list[str] = []
        for name, value in members.items():
            options += [f"--{name.replace('_', '-')}", value if isinstance(value, str) else json.dumps(value)]
        text = self._run("sagemaker", command, *options, or_fails=or_fails)
        self.used.add("".join(part.capitalize() for part in command.split("-")))
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def _run(self, *arguments: str, or_fails: str = "") -> str:
        command = [AWS, "--output", "json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self._settings, timeout=DEADLINE_S)
        assert done.returncode == 0 or (or_fails and or_fails in done.stderr), (arguments, done.stderr)
        return done.stdout


@pytest.fixture
def aws(settings: dict[str, str]) -> AwsCli:
    return AwsCli(settings)


def wait_for(wanted: str, status: Callable[[], str]) -> None:
    until(lambda: status() == wanted, lambda: f"it is {status()}")


def test_each_operation(aws: AwsCli, served: ServedManager, tmp_path: Path) -> None:
    model = tmp_path / "wake.tflite"
    model.write_bytes(b"TFL3" * 500)
    aws.s3("mb", "s3://wake")
    aws.s3("cp", str(model), "s3://wake/in/wake.tflite")

    fleet = {"device_fleet_name": "barn"}
    output = {"S3OutputLocation": "s3://wake/fleet"}
    aws("create-device-fleet", **fleet, output_config=output, role_arn=ROLE)
    aws("update-device-fleet", **fleet, output_config=output, description="Cows")
    arn = aws("describe-device-fleet", **fleet)["DeviceFleetArn"]
    aws("add-tags", resource_arn=arn, tags=[{"Key": "herd", "Value": "north"}, {"Key": "old", "Value": "x"}])
    aws("delete-tags", resource_arn=arn, tag_keys=["old"])
    assert aws("list-tags", resource_arn=arn)["Tags"] == [{"Key": "herd", "Value": "north"}]
    aws("register-devices", **fleet, devices=[{"DeviceName": "cow-1"}, {"DeviceName": "cow-2"}])
    aws("update-devices", **fleet, devices=[{"DeviceName": "cow-1", "Description": "the first"}])
    assert aws("describe-device", **fleet, device_name="cow-1")["Description"] == "the first"
    assert [each["DeviceName"] for each in aws("list-devices", **fleet)["DeviceSummaries"]] == ["cow-1", "cow-2"]
    assert aws("get-device-fleet-report", **fleet)["DeviceStats"]["RegisteredDeviceCount"] == 2

    compiled = {"S3OutputLocation": "s3://wake/compiled", "TargetDevice": "rasp3b"}
    source = {"S3Uri": "s3://wake/in/wake.tflite", "DataInputConfig": "{}", "Framework": "TFLITE"}
    named = {"compilation_job_name": "compile-1"}
    limits = {"MaxRuntimeInSeconds": 60}
    how: dict[str, Any] = {
        "input_config": source,
        "output_config": compiled,
        "stopping_condition": limits,
        "role_arn": ROLE,
    }
    aws("create-compilation-job", **named, **how)
    wait_for("COMPLETED", lambda: aws("describe-compilation-job", **named)["CompilationJobStatus"])
    package = {"edge_packaging_job_name": "package-1"}
    what = {"compilation_job_name": "compile-1", "model_name": "wake", "model_version": "1.0", "role_arn": ROLE}
    aws("create-edge-packaging-job", **package, **what, output_config={"S3OutputLocation": "s3://wake/packaged"})
    wait_for("COMPLETED", lambda: aws("describe-edge-packaging-job", **package)["EdgePackagingJobStatus"])
    assert len(aws("list-edge-packaging-jobs")["EdgePackagingJobSummaries"]) == 1
    assert len(aws("list-compilation-jobs")["CompilationJobSummaries"]) == 1

    plan = {"edge_deployment_plan_name": "plan-1"}
    models = [{"ModelHandle": "wake", "EdgePackagingJobName": "package-1"}]
    aws("create-edge-deployment-plan", **plan, **fleet, model_configs=models)
    aws("create-edge-deployment-stage", **plan, stages=[STAGE, STAGE | {"StageName": "never"}])
    aws("delete-edge-deployment-stage", **plan, stage_name="never")
    aws("start-edge-deployment-stage", **plan, stage_name="all")

    def status() -> str:
        [stage] = aws("describe-edge-deployment-plan", **plan)["Stages"]
        return str(stage["DeploymentStatus"]["StageStatus"])

    wait_for("INPROGRESS", status)
    assert len(aws("list-stage-devices", **plan, stage_name="all")["DeviceDeploymentSummaries"]) == 2
    aws("stop-edge-deployment-stage", **plan, stage_name="all")
    wait_for("STOPPED", status)
    assert len(aws("list-edge-deployment-plans")["EdgeDeploymentPlanSummaries"]) == 1
    aws("delete-edge-deployment-plan", **plan)

    slow = {"compilation_job_name": "compile-2"}
    aws("create-compilation-job", **slow, **how)
    late = {"edge_packaging_job_name": "package-2"}
    aws("create-edge-packaging-job", **late, **what, output_config={"S3OutputLocation": "s3://wake/packaged"})
    aws("stop-edge-packaging-job", or_fails="has ended", **late)
    aws("stop-compilation-job", or_fails="has ended", **slow)
    aws("delete-compilation-job", **slow)
    aws("deregister-devices", **fleet, device_names=["cow-1", "cow-2"])
    assert [each["DeviceFleetName"] for each in aws("list-device-fleets")["DeviceFleetSummaries"]] == ["barn"]
    aws("delete-device-fleet", **fleet)
    assert aws.used == CONTROL_OPERATIONS
