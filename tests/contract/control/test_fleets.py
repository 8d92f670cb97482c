"""Device fleets as boto3 sees them."""

import time
from typing import Any

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError

from gateway.manager import Place
from gateway.manager.api import ModelDefinition
from gateway.manager.rollouts import NewRollout, RolloutRunner
from gateway.manager.store.tables import FLEET_STATES, ROLLOUT_COUNTS, ROLLOUTS
from tests.support.stores import open_place

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


def test_lists_of_fleets(sagemaker: Any) -> None:
    for name in ("barn_2", "attic", "Barn-1"):
        sagemaker.create_device_fleet(DeviceFleetName=name, OutputConfig=OUTPUT)
    sagemaker.update_device_fleet(DeviceFleetName="attic", OutputConfig=OUTPUT)

    def found(**asked: Any) -> list[str]:
        return [each["DeviceFleetName"] for each in sagemaker.list_device_fleets(**asked)["DeviceFleetSummaries"]]

    assert found() == ["barn_2", "attic", "Barn-1"]
    assert found(SortBy="LAST_MODIFIED_TIME", SortOrder="Descending") == ["attic", "Barn-1", "barn_2"]
    assert sorted(found(SortBy="NAME", NameContains="barn")) == ["Barn-1", "barn_2"]
    assert found(NameContains="n_") == ["barn_2"]
    first = sagemaker.describe_device_fleet(DeviceFleetName="barn_2")["CreationTime"].timestamp()
    assert "barn_2" in found(CreationTimeBefore=first + 1)
    assert found(CreationTimeBefore=first - 1) == found(LastModifiedTimeAfter=first + 3600) == []


def test_a_role_alias_ends_where_it_is_not_wanted(sagemaker: Any) -> None:
    """Terraform reads it back, and sends it with each update."""
    fleet = {"DeviceFleetName": "f", "OutputConfig": OUTPUT}
    sagemaker.create_device_fleet(**fleet, EnableIotRoleAlias=True)
    assert sagemaker.describe_device_fleet(DeviceFleetName="f")["IotRoleAlias"] == "SageMakerEdge-f"
    sagemaker.update_device_fleet(**fleet, EnableIotRoleAlias=False)
    assert "IotRoleAlias" not in sagemaker.describe_device_fleet(DeviceFleetName="f")


def test_a_fleet_is_deleted_with_its_rollouts_when_they_ended(sagemaker: Any, place: Place) -> None:
    fleet = {"DeviceFleetName": "f"}
    sagemaker.create_device_fleet(**fleet, OutputConfig=OUTPUT, Tags=[{"Key": "herd", "Value": "north"}])
    sagemaker.register_devices(**fleet, Devices=[{"DeviceName": "d"}])
    with open_place(place) as store:

        def set_state(state: str) -> None:
            store.write(lambda transaction: transaction.connection.execute(sa.update(ROLLOUTS).values(state=state)))

        runner = RolloutRunner(store)
        number = store.read(lambda transaction: transaction.device_id("f", "d"))
        assert number is not None
        definitions = (ModelDefinition("m", url="s3://m/x"),)
        new = NewRollout("f", "one", "one", "DO_NOTHING", definitions)
        runner.start(new, lambda _: [number], time.time())
        set_state("paused")  # the background ends one without devices
        sagemaker.deregister_devices(**fleet, DeviceNames=["d"])
        with pytest.raises(ClientError, match=r"has a rollout that has not ended \(one\)") as caught:
            sagemaker.delete_device_fleet(**fleet)
        assert caught.value.response["Error"]["Code"] == "ResourceInUse"
        set_state("aborted")
        sagemaker.delete_device_fleet(**fleet)
        for table in (ROLLOUTS, ROLLOUT_COUNTS, FLEET_STATES):
            count = sa.select(sa.func.count()).select_from(table)
            assert store.read(lambda transaction: transaction.connection.scalar(count)) == 0, table.name  # noqa: B023
    sagemaker.create_device_fleet(**fleet, OutputConfig=OUTPUT)
    arn = sagemaker.describe_device_fleet(**fleet)["DeviceFleetArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
    assert sagemaker.list_devices(**fleet)["DeviceSummaries"] == []
