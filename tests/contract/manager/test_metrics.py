"""/metrics of a manager that serves: what calls change in it, and what it says while its database is away."""

import socket
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import Manager
from tests.support.polling import until
from tests.support.postgres import Postgres


def metrics(manager: Manager) -> dict[str, float]:
    """Each sample by its name and labels, as they are written there, without the prefix."""
    with urllib.request.urlopen(manager.url + "/metrics", timeout=DEADLINE_S) as page:
        assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = page.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("edge_manager_"): float(value) for name, value in pairs}


def calls(manager: Manager, operation: str, outcome: str) -> float:
    return metrics(manager)[f'calls_total{{operation="{operation}",outcome="{outcome}"}}']


def heartbeat(manager: Manager, device: str, secret: str | None = None) -> None:
    client = manager.client("sagemaker-edge") if secret is None else manager.client("sagemaker-edge", secret=secret)
    client.send_heartbeat(DeviceFleetName="f", DeviceName=device, AgentVersion="1")


def test_calls_and_what_is_kept(make_manager: Callable[..., Manager]) -> None:
    manager = make_manager()
    manager.run("register", "f", "d", "e")
    heartbeat(manager, "d")
    with pytest.raises(ClientError, match="not registered"):
        heartbeat(manager, "nobody")
    found = metrics(manager)
    assert found['calls_total{operation="SendHeartbeat",outcome="accepted"}'] == 1
    assert found['calls_total{operation="SendHeartbeat",outcome="invalid"}'] == 1
    assert found['call_seconds_count{operation="SendHeartbeat"}'] == 1
    assert found['group_calls_sum{group="heartbeats"}'] == found['group_calls_count{group="heartbeats"}'] == 2
    assert found['devices{fleet="f",state="not announced"}'] == found['devices{fleet="f",state="never heard"}'] == 1
    assert found["database_up"] == 1
    assert found["connections"] >= 1
    assert found["connections_limit"] > 1
    assert found['database_transaction_seconds{kind="write"}'] > 0
    assert found["process_open_fds"] > 1


def test_it_needs_no_signature_and_says_who_has_none(guarded: Manager) -> None:
    before = calls(guarded, "SendHeartbeat", "unauthorized")
    with pytest.raises(ClientError, match="InvalidSignature"):
        heartbeat(guarded, "d", secret="wrong")
    assert calls(guarded, "SendHeartbeat", "unauthorized") == before + 1


def test_connections_that_are_refused(make_manager: Callable[..., Manager]) -> None:
    manager = make_manager("--max-connections", "1")
    at = urlsplit(manager.url)
    refused = 'requests_refused_total{limit="connections"}'

    def is_counted() -> bool:
        return metrics(manager)[refused] == 1

    with socket.create_connection((at.hostname, at.port)) as first:
        first.sendall(b"GET ")  # so that it is there before the next one
        with socket.create_connection((at.hostname, at.port)) as second:
            second.settimeout(DEADLINE_S)
            assert second.recv(100).startswith(b"HTTP/1.1 503")
        first.sendall(b"/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        first.settimeout(DEADLINE_S)
        while first.recv(10_000):
            pass
    until(is_counted, lambda: "the refused connection is not counted")


def test_it_answers_while_the_database_is_away(own_postgres: Postgres, make_manager: Callable[..., Manager]) -> None:
    manager = make_manager("--database", own_postgres.url())

    def is_up() -> float:
        return metrics(manager)["database_up"]

    assert is_up() == 1
    own_postgres.stop()
    until(lambda: is_up() == 0, lambda: "the database is said to be there")
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        heartbeat(manager, "d")
    found = metrics(manager)
    assert found['calls_total{operation="SendHeartbeat",outcome="unavailable"}'] == 1
    assert not [name for name in found if name.startswith("devices")]
    own_postgres.start()
    until(lambda: is_up() == 1, lambda: "the database is said to be away")


def test_it_answers_while_the_database_is_silent(own_postgres: Postgres, make_manager: Callable[..., Manager]) -> None:
    """Connections stay open, and nothing comes: whoever asks would wait for ever."""
    manager = make_manager("--database", own_postgres.url())
    assert metrics(manager)["database_up"] == 1
    own_postgres.suspend()
    try:
        until(lambda: metrics(manager)["database_up"] == 0, lambda: "the database is said to be there")
        assert metrics(manager)["connections"] >= 1
    finally:
        own_postgres.resume()
    until(lambda: metrics(manager)["database_up"] == 1, lambda: "the database is said to be away")
