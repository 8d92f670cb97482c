"""Terraform with hashicorp/aws, unmodified: a fleet and its devices as code.

The provider is 700 MB, so it must be there: GATEWAY_TEST_TERRAFORM_PLUGINS names the directory, laid out as `terraform
providers mirror` does, and `.ci/run` finds it.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import needs
from tests.support.served_manager import ServedManager

PLUGINS = "GATEWAY_TEST_TERRAFORM_PLUGINS"
UNCHANGED, CHANGES = 0, 2
"""The exit statuses of `plan -detailed-exitcode`."""
LONGEST_S = 300.0
"""A step starts the provider, which takes its time on a machine with other work."""
SKIPPED = {
    "skip_credentials_validation": True,
    "skip_requesting_account_id": True,
    "skip_metadata_api_check": True,
}
"""Of the provider's checks, those that ask other services of AWS."""
SITE: dict[str, Any] = {
    "terraform": {"required_providers": {"aws": {"source": "hashicorp/aws"}}},
    "variable": {"description": {"default": "Cows, mostly."}},
    "resource": {
        "aws_sagemaker_device_fleet": {
            "barn": {
                "device_fleet_name": "barn",
                "role_arn": "arn:aws:iam::000000000000:role/edge",
                "description": "${var.description}",
                "output_config": {"s3_output_location": "s3://models/barn/"},
                "tags": {"herd": "north"},
            }
        },
        "aws_sagemaker_device": {
            "cow": {
                "device_fleet_name": "${aws_sagemaker_device_fleet.barn.device_fleet_name}",
                "device": {"device_name": "cow-1", "description": "The first."},
            }
        },
    },
}


class Terraform:
    """In a directory of its own. `endpoint`: of the manager."""

    def __init__(self, directory: Path, endpoint: str, settings: dict[str, str]) -> None:
        self._directory = directory
        self._settings = settings
        self._program = needs.program("terraform")
        site = SITE | {"provider": {"aws": SKIPPED | {"endpoints": {"sagemaker": endpoint}}}}
        (directory / "main.tf.json").write_text(json.dumps(site))

    def run(self, *arguments: str, expected: int = 0) -> str:
        command = [self._program, *arguments]
        done = subprocess.run(
            command, cwd=self._directory, env=self._settings, capture_output=True, text=True, timeout=LONGEST_S
        )
        assert done.returncode == expected, (arguments, done.stdout, done.stderr)
        return done.stdout


def test_a_fleet_as_code(served: ServedManager, settings: dict[str, str], tmp_path: Path) -> None:
    plugins = os.environ.get(PLUGINS) or pytest.skip(f"{PLUGINS} names no directory with the provider hashicorp/aws")
    terraform = Terraform(tmp_path, served.url, settings)
    sagemaker = served.client("sagemaker")
    plan = ("plan", "-input=false", "-detailed-exitcode")
    apply = ("apply", "-input=false", "-auto-approve")
    terraform.run("init", "-input=false", f"-plugin-dir={plugins}")
    terraform.run(*apply)
    assert sagemaker.describe_device(DeviceFleetName="barn", DeviceName="cow-1")["Description"] == "The first."
    terraform.run(*plan, expected=UNCHANGED)

    sagemaker.deregister_devices(DeviceFleetName="barn", DeviceNames=["cow-1"])
    assert "1 to add, 0 to change, 0 to destroy" in terraform.run(*plan, expected=CHANGES)
    terraform.run(*apply, "-var=description=Sheep now")
    found = sagemaker.describe_device_fleet(DeviceFleetName="barn")
    assert found["Description"] == "Sheep now"
    assert sagemaker.list_tags(ResourceArn=found["DeviceFleetArn"])["Tags"] == [{"Key": "herd", "Value": "north"}]
    terraform.run(*plan, "-var=description=Sheep now", expected=UNCHANGED)

    terraform.run("destroy", "-input=false", "-auto-approve")
    assert sagemaker.list_device_fleets()["DeviceFleetSummaries"] == []
