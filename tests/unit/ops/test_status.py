"""The status pages: the response of each, and what follows from a busy port."""

import socket
from collections.abc import Iterator

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.errors import ConfigError
from gateway.ops.metrics import Metrics
from gateway.ops.status import StatusServer

HOST = "127.0.0.1"


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


async def request(pages: StatusServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{HOST}:{pages.port}{path}") as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_readiness_is_read_for_each_request() -> None:
    reasons = ["not connected to the broker", "not subscribed"]
    async with StatusServer(HOST, 0, Metrics(), lambda: reasons) as pages:
        status, kind, body = await request(pages, "/readyz")
        assert (status, kind.split(";")[0]) == (503, "application/json")
        assert body == '{"ready": false, "reasons": ["not connected to the broker", "not subscribed"]}'
        reasons.clear()
        assert (await request(pages, "/readyz"))[::2] == (200, '{"ready": true, "reasons": []}')


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/healthz", 200, '{"alive": true}'),
        ("GET", "/", 200, "/metrics"),
        ("GET", "/metrics", 200, "edge_gateway_messages_acknowledged_total 1.0"),
        ("HEAD", "/healthz", 200, ""),
        ("GET", "/nothing", 404, ""),
        ("POST", "/healthz", 405, ""),
    ],
)
async def test_pages_of_a_gateway_that_is_not_ready(method: str, path: str, status: int, text: str) -> None:
    metrics = Metrics()
    metrics.acknowledged.inc()
    async with StatusServer(HOST, 0, metrics, lambda: ["no"]) as pages:
        answer = await request(pages, path, method)
    assert answer[0] == status
    assert text in answer[2]


async def test_metrics_come_in_prometheus_text_format() -> None:
    async with StatusServer(HOST, 0, Metrics(), list) as pages:
        assert (await request(pages, "/metrics"))[1] == "text/plain; version=0.0.4; charset=utf-8"


async def test_the_port_is_free_again_afterwards() -> None:
    async with StatusServer(HOST, 0, Metrics(), list) as pages:
        port = pages.port
        assert repr(pages) == f"<StatusServer {HOST}:{port}>"
    assert pages.port is None
    async with StatusServer(HOST, port, Metrics(), list) as second:
        assert second.port == port


async def test_a_busy_port_that_was_asked_for_is_the_operators_mistake(busy_port: int) -> None:
    with pytest.raises(ConfigError, match="should be a free port, or off") as caught:
        await StatusServer(HOST, busy_port, Metrics(), list).__aenter__()
    assert caught.value.mistakes[0].startswith(f"http_port: {busy_port} cannot be served on {HOST}; ")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a" * 300])
@pytest.mark.parametrize("required", [True, False])
async def test_a_host_that_is_not_this_machine_is_a_mistake_of_the_settings(host: str, required: bool) -> None:
    with pytest.raises(ConfigError, match="should be an address of this machine") as caught:
        await StatusServer(host, 0, Metrics(), list, required=required).__aenter__()
    assert caught.value.mistakes[0].startswith(f"http_host: {host} ")


async def test_a_busy_port_by_default_is_a_warning(busy_port: int) -> None:
    with capture_logs() as logs:
        async with StatusServer(HOST, busy_port, Metrics(), list, required=False) as pages:
            assert pages.port is None
    assert [(entry["log_level"], entry["port"]) for entry in logs] == [("warning", busy_port)]


async def test_no_port_serves_nothing() -> None:
    async with StatusServer(HOST, None, Metrics(), list) as pages:
        assert repr(pages) == f"<StatusServer {HOST}:not served>"
