"""Which devices a command means: good names pass, all others are told at once."""

import pytest

from gateway.errors import LimitError, ProvisioningError
from gateway.provisioning.device_names import Device, chosen, from_csv


def test_a_device_and_what_it_is_called() -> None:
    device = Device("fleet-a", "dev_1")
    assert (device.user, device.stem) == ("fleet-a/dev_1", "fleet-a.dev_1")
    assert Device.of_user("fleet-a/dev_1") == device


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "a.b", "a b", "-a", "a-", "ä", "a\n", "x" * 64, "a:b"])
def test_a_name_that_could_mean_another_is_none(name: str) -> None:
    with pytest.raises(LimitError):
        Device("fleet-a", name)
    with pytest.raises(LimitError):
        Device(name, "dev-1")


@pytest.mark.parametrize("user", ["gateway", "a/b/c", "/b", "a/", "+/b"])
def test_users_who_are_no_device(user: str) -> None:
    assert Device.of_user(user) is None


def test_all_wrong_names_are_told_at_once() -> None:
    with pytest.raises(ProvisioningError) as told:
        chosen("fleet-a", ["ok", "+", "a b", "ok"])
    assert [part.split(":")[0] for part in str(told.value).split("; ")] == ["fleet-a/+", "fleet-a/a b", "fleet-a/ok"]


@pytest.mark.parametrize("head", [[], ["fleet,device\n"], ["\n", "fleet, device\n"]])
def test_a_file_with_a_header_or_without(head: list[str]) -> None:
    lines = [*head, "f,a\n", "\n", " f , b \r\n"]
    assert from_csv(lines) == [Device("f", "a"), Device("f", "b")]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["f,a", "f"], "line 2: 1 columns, must be fleet,device"),
        (["f,a", "f,a,b"], "line 2: 3 columns"),
        (["f,a", "f,b", "f,a"], "line 3: f/a stands there twice, first in line 1"),
        (["f,+"], "line 1: device: '\\+' does not match"),
        (["fleet,device"], "it names no device"),
        (["f,a\0"], "line 1"),
    ],
)
def test_a_file_that_cannot_be_used(lines: list[str], told: str) -> None:
    with pytest.raises(ProvisioningError, match=told):
        from_csv(lines)
