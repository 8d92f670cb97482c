"""Fixtures of the service client: AWS settings of the test's own, a fake Edge Manager, the client."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.contract.harness import ClientHarness
from tests.contract.service import ScriptedEdgeManager, scripted


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
async def service(aws: None) -> AsyncIterator[ScriptedEdgeManager]:
    """The service that the client calls."""
    async with scripted() as running:
        yield running


@pytest.fixture(params=["boto", "direct"])
async def harness(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[ClientHarness]:
    """The client by AWS's standard settings alone, over each transport."""
    made = ClientHarness(service.url, monkeypatch, transport=request.param)
    yield made
    made.cloud.close()
