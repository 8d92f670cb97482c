"""Free ports: within their bounds, different, and random even with a seed."""

import random
import socket

import pytest

from gateway.demo.brokers.address import free_ports


def test_a_seed_does_not_repeat_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEMO_PORTS", raising=False)
    chosen = set()
    for _ in range(3):
        random.seed(1)
        chosen.add(free_ports(3))
    assert len(chosen) > 1


def test_they_are_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_PORTS", "20000-20039")
    found = free_ports(3)
    assert len(set(found)) == 3
    assert all(20_000 <= port <= 20_039 for port in found)


def test_a_port_in_use_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("DEMO_PORTS", f"{port}-{port}")
        with pytest.raises(OSError, match=rf"no 1 free ports on 127\.0\.0\.1 from {port} to {port}"):
            free_ports(1)


def test_bounds_that_are_not_a_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_PORTS", "many")
    with pytest.raises(ValueError, match="many"):
        free_ports(1)
