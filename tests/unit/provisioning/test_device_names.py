"""Names of devices: correct names are accepted, all wrong ones are reported together."""

import pytest

from gateway.errors import LimitError, ProvisioningError
from gateway.protocol.messages import Device
from gateway.provisioning.device_names import devices_from_csv, devices_named, devices_of_users, file_stem, in_order


def test_a_device_has_a_user_name_and_a_file_name() -> None:
    device = Device("fleet-a", "dev_1")
    assert (str(device), file_stem(device)) == ("fleet-a/dev_1", "fleet-a.dev_1")
    assert devices_of_users(["fleet-a/dev_1"]) == {device}


def test_devices_are_in_order_of_fleet_and_then_name() -> None:
    devices = [Device("f-1", "a"), Device("f", "b"), Device("f", "a")]
    assert in_order(devices) == [Device("f", "a"), Device("f", "b"), Device("f-1", "a")]


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "a.b", "a b", "-a", "a-", "ä", "a\n", "x" * 64, "a:b"])
def test_a_name_that_could_mean_another_device_is_rejected(name: str) -> None:
    with pytest.raises(LimitError):
        Device("fleet-a", name)
    with pytest.raises(LimitError):
        Device(name, "dev-1")


@pytest.mark.parametrize("user", ["gateway", "a/b/c", "/b", "a/", "+/b"])
def test_users_that_are_not_devices(user: str) -> None:
    assert devices_of_users([user]) == set()


def test_all_wrong_names_are_reported_together() -> None:
    with pytest.raises(ProvisioningError) as error:
        devices_named("fleet-a", ["ok", "+", "a b", "ok"])
    assert [part.split(":")[0] for part in str(error.value).split("; ")] == ["fleet-a/+", "fleet-a/a b", "fleet-a/ok"]


@pytest.mark.parametrize("head", [[], ["fleet,device\n"], ["\n", "fleet, device\n"]])
def test_a_file_with_a_header_or_without(head: list[str]) -> None:
    lines = [*head, "f,a\n", "\n", " f , b \r\n"]
    assert devices_from_csv(lines) == [Device("f", "a"), Device("f", "b")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["f,a", "f"], "line 2: 1 columns, must be fleet,device"),
        (["f,a", "f,a,b"], "line 2: 3 columns"),
        (["f,a", "f,b", "f,a"], "line 3: f/a is there twice, first in line 1"),
        (["f,+"], "line 1: device: '\\+' does not match"),
        (["fleet,device"], "it names no device"),
        (["f,a\0"], "line 1"),
    ],
)
def test_a_file_that_cannot_be_used(lines: list[str], message: str) -> None:
    with pytest.raises(ProvisioningError, match=message):
        devices_from_csv(lines)
