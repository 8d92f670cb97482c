"""A manager on each engine, and boto3's `sagemaker` client of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.manager import Place
from tests.support.served_manager import ServedManager


@pytest.fixture
def served(place: Place) -> Iterator[ServedManager]:
    with ServedManager(place) as served:
        yield served


@pytest.fixture
def sagemaker(served: ServedManager) -> Any:
    return served.client("sagemaker")
