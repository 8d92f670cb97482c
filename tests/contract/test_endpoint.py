"""User and password of an endpoint's URL: boto3 sends them to nobody, and nor do we. No error shows them."""

import pytest

from gateway.cloud import CredentialSource, make_edge_client, make_session
from gateway.cloud.error_mapping import error_from_exception
from gateway.errors import ConfigError
from gateway.files import make_s3_client, s3_call
from gateway.protocol import Accepted, Device, RetryLater, SendHeartbeat
from tests.contract.harness import ClientHarness
from tests.support.arrivals import DEADLINE_S
from tests.support.edge_manager import HOST, FakeEdgeManager, Reply, Request

BEAT = SendHeartbeat(Device("fleet-a", "dev-1"), "1.0.0", (), (), None)


@pytest.mark.parametrize("transport", ["boto", "direct"])
async def test_they_are_neither_sent_nor_shown(aws: None, monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    service = FakeEdgeManager()
    requests: list[Request] = []

    def note(request: Request) -> Reply | None:
        requests.append(request)
        return None

    service.rule = note
    await service.open()
    harness = ClientHarness(f"http://user:S3CRET@{HOST}:{service.port}", monkeypatch, transport=transport)
    assert isinstance(await harness.once(BEAT), Accepted)
    await service.close()
    assert isinstance(await harness.once(BEAT), RetryLater)
    harness.cloud.close()
    assert requests[0].header("Host") == f"{HOST}:{service.port}"
    assert b"S3CRET" not in requests[0].head
    assert b"Basic" not in requests[0].head
    assert "S3CRET" not in str(harness.attempts[1])


@pytest.mark.parametrize("host", ["127.0.0.1:9", "[::1]:9"])
def test_nor_by_s3(aws: None, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:S3CRET@{host}")
    source = CredentialSource("eu-central-1", DEADLINE_S, DEADLINE_S)
    client = make_s3_client(make_session(source), "eu-central-1", DEADLINE_S, DEADLINE_S)
    with pytest.raises(Exception, match="9/b/k") as caught:
        s3_call(client.get_object, "s3://b/k")
    client.close()
    source.close()
    assert "S3CRET" not in str(error_from_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "http://user:S3CRET@edge.example:70000",
        "http://user:S3CRET@edge.example:x",
        "http://user:S3CRET/x@edge.example",
        "htp//user:S3CRET@edge.example",
    ],
)
def test_nor_by_a_mistake_in_the_url(aws: None, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    source = CredentialSource("eu-central-1", DEADLINE_S, DEADLINE_S)
    for make in (make_s3_client, lambda session, region, *timeouts: make_edge_client(session, region, 1, *timeouts)):
        with pytest.raises(ConfigError) as caught:
            make(make_session(source), "eu-central-1", DEADLINE_S, DEADLINE_S)
        assert "S3CRET" not in str(caught.value)
