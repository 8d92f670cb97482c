"""Transactions that take too long lose their connection; others keep it."""

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from gateway.manager.store.watch import Watch
from tests.support.arrivals import DEADLINE_S


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's connection, and that of a server which never answers."""
    client, server = socket.socketpair()
    client.settimeout(DEADLINE_S)
    with client, server:
        yield client, server


def test_a_transaction_that_takes_too_long_loses_its_connection(watch, pair):
    client, _ = pair
    watch.begin(client, 0.05)
    assert client.recv(1) == b""
    assert watch.has_ended(client)


def test_one_that_was_done_in_time_keeps_it(watch, pair, monkeypatch):
    """The other one, which comes later, shows that the clock was looked at."""
    now = [1000.0]
    monkeypatch.setattr("gateway.manager.store.watch.time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))
    client, server = pair
    late, other = socket.socketpair()
    late.settimeout(DEADLINE_S)
    with late, other:
        watch.begin(client, 0.05)
        watch.end(client)
        watch.begin(late, 0.1)
        now[0] += 1.0
        assert late.recv(1) == b""
    server.sendall(b"x")
    assert client.recv(1) == b"x"
    assert not watch.has_ended(client)


def test_a_connection_that_was_closed_meanwhile_is_left_alone(watch, pair):
    client, _ = pair
    closed = socket.socket()
    watch.begin(closed, 0.0)
    closed.close()
    watch.end(None)
    watch.begin(client, 0.0)
    assert client.recv(1) == b""
