"""A manager on each engine, and boto3's `sagemaker` client of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.manager import Place
from tests.support.control_plane import NAMES
from tests.support.served_manager import ServedManager


@pytest.fixture
def served(place: Place) -> Iterator[ServedManager]:
    with ServedManager(place) as served:
        yield served


@pytest.fixture
def sagemaker(served: ServedManager) -> Any:
    return served.client("sagemaker")


@pytest.fixture
def fleet(sagemaker: Any) -> dict[str, str]:
    """The member that names a fleet."""
    named = {"DeviceFleetName": "barn"}
    sagemaker.create_device_fleet(**named, OutputConfig={"S3OutputLocation": "s3://models/barn"}, Description="Cows")
    return named


@pytest.fixture
def five(sagemaker: Any, fleet: dict[str, str]) -> dict[str, str]:
    """That fleet, with the devices NAMES."""
    sagemaker.register_devices(**fleet, Devices=[{"DeviceName": name} for name in NAMES])
    return fleet
