"""Device fleets as boto3 sees them."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

OUTPUT = {"S3OutputLocation": "s3://models/fleet"}


def test_a_fleet_is_made_and_described(sagemaker: Any) -> None:
    sagemaker.create_device_fleet(DeviceFleetName="barn_1", OutputConfig=OUTPUT, Description="Cows, mostly.")
    found = sagemaker.describe_device_fleet(DeviceFleetName="barn_1")
    assert found["DeviceFleetArn"] == "arn:aws:sagemaker:us-east-1:000000000000:device-fleet/barn_1"
    assert (found["OutputConfig"], found["Description"]) == (OUTPUT, "Cows, mostly.")
    assert found["CreationTime"] == found["LastModifiedTime"]


def test_a_fleet_is_made_once(sagemaker: Any) -> None:
    sagemaker.create_device_fleet(DeviceFleetName="f", OutputConfig=OUTPUT)
    with pytest.raises(ClientError, match="Already Exists") as caught:
        sagemaker.create_device_fleet(DeviceFleetName="f", OutputConfig=OUTPUT)
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"


def test_what_terraform_looks_for(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match="No devicefleet with name none") as caught:
        sagemaker.describe_device_fleet(DeviceFleetName="none")
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_an_operation_that_there_is_not(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match=r"CreateModel.*this is an Edge Manager") as caught:
        sagemaker.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::000000000000:role/any")
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
