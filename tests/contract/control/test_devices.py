"""Devices, their tags, and the report of their fleet, as boto3 sees them."""

from typing import Any

import pytest

from gateway.manager.control import report
from tests.support.control_plane import HEARTBEAT, NAMES, refusal
from tests.support.served_manager import ServedManager


def test_devices_are_registered_changed_and_deregistered(sagemaker: Any, fleet: dict[str, str]) -> None:
    one = {"DeviceName": "cow_1", "Description": "the first", "IotThingName": "thing-1"}
    tags = [{"Key": "herd", "Value": "north"}]
    sagemaker.register_devices(**fleet, Devices=[one, {"DeviceName": "cow-2"}], Tags=tags)
    found = sagemaker.describe_device(**fleet, DeviceName="cow_1")
    assert {name: found[name] for name in one} == one
    assert found["DeviceArn"] == "arn:aws:sagemaker:us-east-1:000000000000:device-fleet/barn/device/cow_1"
    assert "LatestHeartbeat" not in found
    assert sagemaker.list_tags(ResourceArn=found["DeviceArn"])["Tags"] == tags

    sagemaker.update_devices(**fleet, Devices=[{"DeviceName": "cow_1", "Description": "the best"}])
    changed = sagemaker.describe_device(**fleet, DeviceName="cow_1")
    assert (changed["Description"], changed["IotThingName"]) == ("the best", "thing-1")
    assert changed["RegistrationTime"] == found["RegistrationTime"]

    sagemaker.deregister_devices(**fleet, DeviceNames=["cow_1"])
    assert [each["DeviceName"] for each in sagemaker.list_devices()["DeviceSummaries"]] == ["cow-2"]
    sagemaker.register_devices(**fleet, Devices=[{"DeviceName": "cow_1"}])
    again = sagemaker.describe_device(**fleet, DeviceName="cow_1")
    assert "Description" not in again
    assert sagemaker.list_tags(ResourceArn=again["DeviceArn"])["Tags"] == []


def test_what_is_not_there(sagemaker: Any, five: dict[str, str]) -> None:
    """Terraform looks for these words."""
    missing = ("ValidationException", "No device with name x in fleet barn")
    assert refusal(sagemaker.describe_device, **five, DeviceName="x") == missing
    no_fleet = refusal(sagemaker.describe_device, DeviceFleetName="none", DeviceName="a")
    assert no_fleet == ("ValidationException", "No device fleet with name none")
    assert refusal(sagemaker.delete_device_fleet, DeviceFleetName="none")[1].startswith("DeviceFleet with name none")
    gone = refusal(sagemaker.deregister_devices, **five, DeviceNames=["a", "x"])
    assert gone == ("ValidationException", "Device with name x in fleet barn does not exist")
    assert len(sagemaker.list_devices(**five)["DeviceSummaries"]) == len(NAMES)  # all of them, or none
    nowhere = refusal(sagemaker.register_devices, DeviceFleetName="none", Devices=[{"DeviceName": "a"}])
    assert nowhere == ("ValidationException", "No devicefleet with name none")


def test_pages_of_two(sagemaker: Any, five: dict[str, str]) -> None:
    sagemaker.create_device_fleet(DeviceFleetName="attic", OutputConfig={"S3OutputLocation": "s3://models/attic"})
    sagemaker.register_devices(DeviceFleetName="attic", Devices=[{"DeviceName": "a"}])
    size = {"PaginationConfig": {"PageSize": 2}}
    pages = [each["DeviceSummaries"] for each in sagemaker.get_paginator("list_devices").paginate(**five, **size)]
    assert [[each["DeviceName"] for each in page] for page in pages] == [["a", "b"], ["c", "d"], ["e"]]
    every = sagemaker.get_paginator("list_devices").paginate(**size).search("DeviceSummaries[].DeviceFleetName")
    assert sorted(every) == ["attic", *["barn"] * 5]
    fleets = sagemaker.get_paginator("list_device_fleets").paginate(SortBy="NAME", PaginationConfig={"PageSize": 1})
    assert [each["DeviceFleetSummaries"][0]["DeviceFleetName"] for each in fleets] == ["attic", "barn"]
    wrong = refusal(sagemaker.list_devices, NextToken="x")
    assert wrong == ("ValidationException", "NextToken is not one that this list returned")


def test_what_devices_report(sagemaker: Any, five: dict[str, str], served: ServedManager) -> None:
    edge = served.client("sagemaker-edge")
    for name in ("a", "b"):
        edge.send_heartbeat(**five, DeviceName=name, **HEARTBEAT)
    described = sagemaker.describe_device(**five, DeviceName="a")
    assert described["AgentVersion"] == "1.2"
    assert [(each["ModelName"], each["ModelVersion"]) for each in described["Models"]] == [("wake", "7")]
    with_model = sagemaker.list_devices(**five, ModelName="wake")["DeviceSummaries"]
    assert [each["DeviceName"] for each in with_model] == ["a", "b"]
    assert sagemaker.list_devices(**five, ModelName="other")["DeviceSummaries"] == []
    after = described["LatestHeartbeat"].timestamp()
    heard = sagemaker.list_devices(**five, LatestHeartbeatAfter=after - 60)["DeviceSummaries"]
    assert [each["DeviceName"] for each in heard] == ["a", "b"]
    assert sagemaker.list_devices(**five, LatestHeartbeatAfter=after + 3600)["DeviceSummaries"] == []

    found = sagemaker.get_device_fleet_report(**five)
    assert found["DeviceStats"] == {"ConnectedDeviceCount": 2, "RegisteredDeviceCount": 5}
    assert found["AgentVersions"] == [{"Version": "1.2", "AgentCount": 2}]
    [model] = found["ModelStats"]
    assert (model["ModelName"], model["ConnectedDeviceCount"], model["ActiveDeviceCount"]) == ("wake", 2, 2)
    assert model["OfflineDeviceCount"] == 0


def test_versions_of_a_large_fleet_are_counted_once_a_minute(
    sagemaker: Any, five: dict[str, str], served: ServedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time says when that was; how many are there is always of now."""
    monkeypatch.setattr(report, "LARGE", 6)
    small = sagemaker.get_device_fleet_report(**five)
    monkeypatch.setattr(report, "LARGE", 5)
    first = sagemaker.get_device_fleet_report(**five)
    served.client("sagemaker-edge").send_heartbeat(**five, DeviceName="a", **HEARTBEAT)
    again = sagemaker.get_device_fleet_report(**five)
    assert (again["ReportGenerated"], again["AgentVersions"]) == (first["ReportGenerated"], [])
    assert again["DeviceStats"] == {"ConnectedDeviceCount": 1, "RegisteredDeviceCount": 5}
    monkeypatch.setattr(report, "KEPT_S", 0.0)
    later = sagemaker.get_device_fleet_report(**five)
    assert small["ReportGenerated"] < first["ReportGenerated"] < later["ReportGenerated"]
    assert later["AgentVersions"] == [{"Version": "1.2", "AgentCount": 1}]


def test_a_fleet_with_devices_stays(sagemaker: Any, five: dict[str, str]) -> None:
    code, message = refusal(sagemaker.delete_device_fleet, **five)
    assert (code, "has devices" in message) == ("ResourceInUse", True)
    sagemaker.deregister_devices(**five, DeviceNames=NAMES)
    sagemaker.delete_device_fleet(**five)
    assert sagemaker.list_device_fleets()["DeviceFleetSummaries"] == []


def test_tags(sagemaker: Any, fleet: dict[str, str]) -> None:
    arn = sagemaker.describe_device_fleet(**fleet)["DeviceFleetArn"]
    tags = [{"Key": f"k{number:02}", "Value": "v"} for number in range(50)]
    assert sagemaker.add_tags(ResourceArn=arn, Tags=tags)["Tags"] == tags
    too_many = refusal(sagemaker.add_tags, ResourceArn=arn, Tags=[{"Key": "k50", "Value": "v"}])
    assert too_many[0] == "ResourceLimitExceeded"
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=[each["Key"] for each in tags[1:]])
    pages = list(sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn))
    assert [each["Tags"] for each in pages] == [tags[:1]]
    none = arn.replace("barn", "none")
    assert refusal(sagemaker.list_tags, ResourceArn=none)[0] == "ValidationException"


def test_an_update_keeps_what_is_not_given(sagemaker: Any, fleet: dict[str, str]) -> None:
    role = "arn:aws:iam::000000000000:role/edge"
    output = {"S3OutputLocation": "s3://other/barn"}
    sagemaker.update_device_fleet(**fleet, OutputConfig=output, RoleArn=role, EnableIotRoleAlias=True)
    found = sagemaker.describe_device_fleet(**fleet)
    assert (found["Description"], found["RoleArn"], found["OutputConfig"]) == ("Cows", role, output)
    assert found["IotRoleAlias"] == "SageMakerEdge-barn"
