"""Fixtures for what talks through the garden door: AWS settings of the test's own, the recorder, the door."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.contract.door import Door
from tests.contract.recorder import Recorder, recording


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS settings of the test's own, none of this machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "secret", "REGION": "eu-central-1"}
    settings |= {"CONFIG_FILE": os.devnull, "SHARED_CREDENTIALS_FILE": os.devnull, "EC2_METADATA_DISABLED": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture
async def service(aws: None) -> AsyncIterator[Recorder]:
    """The misbehaving other side."""
    async with recording() as recorder:
        yield recorder


@pytest.fixture(params=["standard", "express"])
async def door(
    service: Recorder, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Door]:
    """The garden door, by nothing but the standard settings, over each lane."""
    opened = Door(service.url, monkeypatch, way=request.param)
    yield opened
    opened.cloud.close()
