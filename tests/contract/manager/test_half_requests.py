"""Half requests hold connections, and stop nothing: over a real process."""

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from gateway.manager.http.server import OTHER_FILES
from tests.support import manager_process
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import COMMAND, Manager
from tests.support.polling import until

HALF_REQUESTS = 1_100
HEAD = b"POST /SendHeartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
HALVES = [b"", HEAD, HEAD + b"\r\n", HEAD + b'\r\n{"DeviceFleetName":']
WHO = {"DeviceFleetName": "f", "DeviceName": "d"}


@pytest.fixture
def open_files() -> Iterator[None]:
    """As many as this user may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2 * HALF_REQUESTS:
        pytest.skip(f"this user may open {before[1]} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def hold(manager: Manager, stack: ExitStack, number: int) -> list[socket.socket]:
    """So many connections with half a request each."""
    where = urlsplit(manager.url)
    held = []
    for index in range(number):
        connection = socket.create_connection((where.hostname or "", where.port or 0), timeout=DEADLINE_S)
        stack.callback(connection.close)
        connection.sendall(HALVES[index % len(HALVES)])
        held.append(connection)
    return held


def is_answered(manager: Manager) -> bool:
    try:
        registration = manager.client("sagemaker-edge").get_device_registration(**WHO)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 503:
            raise
        return False
    except ConnectionClosedError:  # refused while it was sent
        return False
    return bool(registration["DeviceRegistration"] == "REGISTERED")


@pytest.mark.parametrize("which", ["manager", "guarded"])
def test_calls_are_answered_beside_half_requests(request: pytest.FixtureRequest, open_files: None, which: str) -> None:
    manager: Manager = request.getfixturevalue(which)
    with ExitStack() as stack:
        hold(manager, stack, HALF_REQUESTS)
        edge = manager.client("sagemaker-edge")
        for _ in range(20):
            assert edge.get_device_registration(**WHO)["DeviceRegistration"] == "REGISTERED"


def test_a_limit_of_connections_is_an_option(make_manager: Callable[..., Manager]) -> None:
    manager = make_manager("--max-connections", "3")
    with ExitStack() as stack:
        *_, beyond = hold(manager, stack, 4)
        assert beyond.recv(1000).startswith(b"HTTP/1.1 503 ")
        until(lambda: '"max_connections": 3' in manager.log, lambda: manager.log)


def test_connections_leave_files_to_open(make_manager: Callable[..., Manager], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process may open few files, further connections get 503 all the same, and a device can be registered."""
    monkeypatch.setattr(manager_process, "COMMAND", ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *COMMAND])
    manager = make_manager()
    with ExitStack() as stack:
        *held, beyond = hold(manager, stack, 200 - OTHER_FILES + 1)
        assert beyond.recv(1000).startswith(b"HTTP/1.1 503 ")
        held.pop().close()
        manager.run("register", "f", "d")
        until(lambda: is_answered(manager), lambda: "no call is answered")
    until(lambda: f'"connections": {200 - OTHER_FILES}' in manager.log, lambda: manager.log)
    assert "Traceback" not in manager.log
