"""How often somebody may try to log in, and that what is kept of it has a bound."""

from gateway.manager.console import logins
from gateway.manager.console.logins import Allowance, Tries


def test_a_name_may_be_tried_so_often_at_once_and_then_once_in_a_time():
    tries = Tries(Allowance(3, 10.0))
    for _ in range(3):
        assert tries.wait("alice", 100.0) == 0
        tries.failed("alice", 100.0)
    assert tries.wait("alice", 100.0) == 10.0
    assert tries.wait("bob", 100.0) == 0
    assert tries.wait("alice", 110.0) == 0
    tries.failed("alice", 110.0)
    assert tries.wait("alice", 110.0) == 10.0
    assert tries.wait("alice", 200.0) == 0


def test_who_logs_in_has_all_tries_again():
    tries = Tries(Allowance(1, 10.0))
    tries.failed("alice", 0.0)
    tries.forget("alice")
    tries.forget("bob")
    assert tries.wait("alice", 0.0) == 0


def test_what_is_kept_has_a_bound(monkeypatch):
    monkeypatch.setattr(logins, "MOST_KEPT", 2)
    tries = Tries(Allowance(1, 10.0))
    for name in ("alice", "bob", "alice", "carol"):
        tries.failed(name, 0.0)
    assert [tries.wait(name, 0.0) > 0 for name in ("alice", "bob", "carol")] == [True, False, True]
