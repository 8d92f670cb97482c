"""What no SDK sends: odd paths, broken bodies; and headers, the health, a database that fails."""

import asyncio
import contextlib
import json
import sqlite3

import aiohttp
import pytest
import sqlalchemy as sa
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.manager import ManagerError
from gateway.manager.control import KeyRing
from gateway.manager.http import AccessKey, Limits, ManagerServer, ServerConfig, make_handler, start_server
from gateway.manager.http.keys import KeyReader
from gateway.manager.service import running
from gateway.manager.store import FILE, ObjectStore, Place
from tests.support.stores import sqlite_store

WHO = {"DeviceFleetName": "f", "DeviceName": "d"}


@pytest.fixture
def store(tmp_path):
    with sqlite_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def port(tmp_path, store):
    store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
    config = ServerConfig(Place(tmp_path), max_body=10_000)
    async with running(store, ObjectStore(tmp_path, store), 300, 60) as service:
        handler = make_handler(config, store, service.handle, service.control)
        server = ManagerServer(handler, Limits(max_body=config.max_body))
        yield await server.start("127.0.0.1", 0)
        await server.close()


@pytest.fixture
async def client(port):
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


async def raw_request(port: int, request: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer to a request that no client library has normalised."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    first, *lines = answer.partition("\r\n\r\n")[0].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers


async def test_an_answer_is_rest_json(client):
    answer = await client.post("/GetDeviceRegistration", json=WHO)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert await answer.json() == {"DeviceRegistration": "REGISTERED", "CacheTTL": "300", "RegistrationTime": 1.0}


async def test_an_operation_without_output_has_an_empty_body_and_the_version_of_the_device(client):
    answer = await client.post("/SendHeartbeat", json=WHO | {"AgentVersion": "1"})
    assert (answer.status, await answer.read(), answer.headers["x-edge-manager-version"]) == (200, b"", "1.0/0")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/SendHeartbeat", b"{", 400, "SerializationException"),
        ("/SendHeartbeat", b"{}", 400, "ValidationException"),
        ("/SendHeartbeat", b"x" * 10_001, 413, "RequestEntityTooLargeException"),
        ("/sendheartbeat", b"{}", 404, "UnknownOperationException"),
        ("/SendHeartbeat/", b"{}", 404, "UnknownOperationException"),
        ("/", b"{}", 404, "UnknownOperationException"),
        ("/" + "x" * 3000, b"{}", 404, "UnknownOperationException"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_an_error_has_the_form_of_aws(client, path, body, status, code):
    answer = await client.post(path, data=body)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (status, code)
    body = await answer.json()
    assert body["__type"] == code
    assert body["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("POST", "/GetDeployments", 400),
        ("POST", "/None", 404),
        ("GET", "/", 200),
        ("GET", "/models", 404),
        ("GET", "/models/", 404),
        ("GET", "/models/x?acl", 501),
        ("GET", "/none/x", 404),
        ("HEAD", "/none/x", 404),
        ("GET", "/none/%ff", 404),
        ("GET", "/..%2f/%2e%2e/manager.sqlite3", 404),
        ("GET", "/../../etc/passwd", 404),
        ("DELETE", "/models/x", 404),
        ("PATCH", "/models/x", 405),
        ("OPTIONS", "/models/x", 405),
    ],
)
async def test_every_response_has_its_own_request_id(port, method, path, status):
    seen = set()
    for _ in range(2):
        answered, headers = await raw_request(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answered == status
        seen.add(headers["x-amzn-requestid"])
    assert len(seen) == 2


async def test_what_nobody_expects_is_an_internal_error(client, store):
    store.write(lambda transaction: transaction.connection.exec_driver_sql("DROP TABLE deployments"))
    answer = await client.post("/GetDeployments", json=WHO)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InternalServiceException")
    assert "Message" in await answer.json()


def read_only(connection, record):
    connection.execute("PRAGMA query_only = ON")


async def test_calls_are_to_be_repeated_while_the_database_takes_no_changes(client, store):
    store.engine.dispose()
    sa.event.listen(store.engine, "connect", read_only)
    answer = await client.post("/SendHeartbeat", json=WHO | {"AgentVersion": "1"})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (503, "ServiceUnavailableException")
    assert answer.headers["Retry-After"] == "1"
    assert (await client.post("/GetDeviceRegistration", json=WHO)).status == 200
    sa.event.remove(store.engine, "connect", read_only)
    store.engine.dispose()
    assert (await client.post("/SendHeartbeat", json=WHO | {"AgentVersion": "1"})).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_pages_of_a_sound_manager(client, method):
    for path in ("/healthz", "/readyz"):
        answer = await client.request(method, path)
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert method == "HEAD" or await answer.json() == {"status": "ok"}
    answer = await client.request(method, "/metrics")
    assert (answer.status, answer.content_type) == (200, "text/plain")
    assert method == "HEAD" or "edge_manager_database_up 1.0" in await answer.text()


async def test_a_database_that_can_only_be_read(client, tmp_path):
    """By a lock of another process, which lets readers in."""
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await client.get("/healthz")).status == 200
        answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (503, {"status": "failing"})


async def test_a_database_that_cannot_be_read(client, store, tmp_path):
    store.engine.dispose()
    for name in (FILE, f"{FILE}-wal"):  # which has pages too
        (tmp_path / name).write_bytes(b"no database" * 1000)
    answers = await asyncio.gather(*(client.get(path) for path in ["/healthz", "/readyz"] * 10))
    assert {answer.status for answer in answers} == {503}


async def test_health_needs_no_signature_and_all_else_does(tmp_path):
    async with (
        start_server(ServerConfig(Place(tmp_path), access_key=AccessKey("A", "B"))) as url,
        aiohttp.ClientSession(url) as session,
    ):
        assert (await session.get("/healthz")).status == 200
        answer = await session.post("/GetDeployments", data=json.dumps(WHO))
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")
        answer = await session.get("/models/x")
        assert answer.status == 403
        assert "<Code>AccessDenied</Code>" in await answer.text()


async def test_while_the_keys_cannot_be_read_the_known_one_holds_and_nobody_judges_another(tmp_path, store):
    reader = KeyReader(KeyRing(store, AccessKey("KNOWN", "secret")))

    def signed(key: str) -> dict[str, str]:
        request = AWSRequest("POST", f"http://127.0.0.1:{port}/None", data=b"{}")
        SigV4Auth(Credentials(key, "secret"), "sagemaker", "r").add_auth(request)
        return dict(request.headers)

    async with running(store, ObjectStore(tmp_path, store), 300, 60) as service:
        handler = make_handler(ServerConfig(Place(tmp_path)), store, service.handle, service.control, keys=reader)
        server = ManagerServer(handler, Limits())
        port = await server.start("127.0.0.1", 0)
        reader.start()
        store.engine.dispose()
        for name in (FILE, f"{FILE}-wal"):
            (tmp_path / name).write_bytes(b"no database" * 1000)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            assert (await session.post("/None", data=b"{}", headers=signed("KNOWN"))).status == 404
            answer = await session.post("/None", data=b"{}", headers=signed("OTHER"))
            assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (503, "ServiceUnavailableException")
        await server.close()
        await reader.close()


async def test_it_listens_inside_the_block_and_not_after_it(tmp_path):
    async with start_server(ServerConfig(Place(tmp_path))) as url, aiohttp.ClientSession() as session:
        assert url.startswith("http://127.0.0.1:")
        assert (await session.get(f"{url}/healthz")).status == 200
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{url}/healthz")


@pytest.mark.parametrize("wrong", [{"port": -1}, {"port": 65536}, {"registered_ttl": -1}, {"unregistered_ttl": -1}])
def test_a_config_that_cannot_work(tmp_path, wrong):
    with pytest.raises(ManagerError, match=str(next(iter(wrong.values())))):
        ServerConfig(Place(tmp_path), **wrong)
