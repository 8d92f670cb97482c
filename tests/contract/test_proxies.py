"""HTTP_PROXY, ALL_PROXY and NO_PROXY mean to our calls what they mean to boto3's."""

import asyncio

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ProxyConnectionError

from gateway.cloud import CredentialSource
from gateway.cloud.boto_transport import make_edge_client, make_session
from gateway.connections import EdgeManagerConnection
from gateway.errors import CloudError
from gateway.protocol.messages import Device
from gateway.protocol.service_calls import SendHeartbeat
from tests.contract.service import ScriptedEdgeManager
from tests.support.arrivals import DEADLINE_S

DEAD = "http://127.0.0.1:9"
"""The port `discard`, where nothing listens."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine's."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variables", "reached"),
    [
        ({"HTTP_PROXY": DEAD}, False),
        ({"ALL_PROXY": DEAD}, True),
        ({"HTTPS_PROXY": DEAD}, True),
        ({"HTTP_PROXY": DEAD, "NO_PROXY": "127.0.0.1"}, True),
        ({"http_proxy": DEAD, "no_proxy": "other.example"}, False),
    ],
    ids=str,
)
async def test_an_endpoint_on_loopback(
    service: ScriptedEdgeManager, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], reached: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = Config(retries={"total_max_attempts": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_EDGE", service.url)
    by_hand = boto3.Session().client("sagemaker-edge", region_name="eu-central-1", config=config)
    try:
        await asyncio.to_thread(by_hand.send_heartbeat, AgentVersion="1.0.0", DeviceName="d", DeviceFleetName="f")
        reached_by_boto3 = True
    except ProxyConnectionError:
        reached_by_boto3 = False
    credentials = CredentialSource(None, DEADLINE_S, DEADLINE_S)
    session = make_session(credentials)
    client = make_edge_client(session, None, 2, DEADLINE_S, DEADLINE_S)
    transport, _ = EdgeManagerConnection(credentials, session, client).make_transport(2)
    answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    transport.send(SendHeartbeat(Device("f", "d"), "1.0.0", (), (), None), answered.set_result)
    answer = await answered
    transport.close()
    assert isinstance(answer, CloudError) is not reached
    assert reached_by_boto3 is reached
    assert len(service.requests) == 2 * reached
