"""Users and their sessions, in each engine."""

from typing import Any

import pytest

from gateway.manager.console import sessions
from gateway.manager.control import ArnScope, Caller, ControlCall, users
from gateway.manager.control.passwords import NOBODY, hash_password, is_password
from gateway.manager.errors import ApiError
from gateway.manager.store import Store, Transaction

NOW = 1e9


def call(transaction: Transaction) -> ControlCall:
    return ControlCall(transaction, Caller(), ArnScope(), "edge-manager:Test", NOW)


@pytest.fixture
def alice(store: Store) -> Store:
    store.write(lambda transaction: users.add(call(transaction), "alice", "viewer", "a hash"))
    return store


def opened(store: Store, password: str = "a hash", now: float = NOW) -> str | None:
    return store.write(lambda transaction: sessions.open_session(transaction, "alice", password, now))


def found(store: Store, token: str, now: float = NOW) -> Any:
    return store.read(lambda transaction: sessions.find_session(transaction, token, now))


def refused(store: Store, work: Any) -> str:
    with pytest.raises(ApiError) as caught:
        store.write(work)
    return caught.value.code


def test_a_session_is_its_users_until_it_ends(alice: Store) -> None:
    token = opened(alice)
    assert token is not None
    assert found(alice, token) == sessions.UserSession("alice", "viewer", is_stale=False)
    assert found(alice, token, NOW + sessions.EXACT + 1).is_stale
    alice.write(lambda transaction: sessions.touch(transaction, token, NOW + sessions.EXACT + 1))
    assert not found(alice, token, NOW + sessions.EXACT + 1).is_stale
    assert found(alice, "another") is None
    alice.write(lambda transaction: sessions.end_session(transaction, token))
    assert found(alice, token) is None


def test_no_session_opens_by_a_password_that_was_changed_meanwhile(alice: Store) -> None:
    alice.write(lambda transaction: users.change_password(call(transaction), "alice", "another"))
    assert opened(alice) is None
    alice.write(lambda transaction: users.remove(call(transaction), "alice"))
    assert opened(alice, "another") is None
    assert opened(alice, "") is None


def test_of_a_user_so_many_sessions_are_kept(alice: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 2)
    tokens = [str(opened(alice, now=NOW + number)) for number in range(3)]
    assert [found(alice, token) is not None for token in tokens] == [False, True, True]


def test_sessions_that_ended_are_deleted(alice: Store) -> None:
    old = str(opened(alice))
    opened(alice, now=NOW + sessions.IDLE + 2 * sessions.EXACT)
    assert found(alice, old) is None


def test_users_are_made_removed_and_made_again(alice: Store) -> None:
    def add(transaction: Transaction) -> None:
        users.add(call(transaction), "alice", "admin", "another")

    assert refused(alice, add) == "ResourceInUse"
    alice.write(lambda transaction: users.remove(call(transaction), "alice"))
    assert refused(alice, lambda transaction: users.remove(call(transaction), "alice")) == "ResourceNotFound"
    removed = {"UserName": "alice", "Role": "viewer", "CreationTime": NOW, "RemovalTime": NOW}
    assert alice.read(users.list_all) == [removed]
    assert alice.read(users.any_made)
    alice.write(add)
    assert alice.read(users.list_all) == [{"UserName": "alice", "Role": "admin", "CreationTime": NOW}]


def test_how_many_users_there_may_be(alice: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "MOST_USERS", 1)
    add = lambda transaction: users.add(call(transaction), "bob", "admin", "x")  # noqa: E731
    assert refused(alice, add) == "ResourceLimitExceeded"


@pytest.mark.parametrize(("name", "role"), [("", "viewer"), ("a b", "viewer"), ("-a", "viewer"), ("a", "gateway")])
def test_what_is_no_user(store: Store, name: str, role: str) -> None:
    assert refused(store, lambda transaction: users.add(call(transaction), name, role, "x")) == "ValidationException"


@pytest.mark.parametrize("name", ["nobody", "a\x00b", "", "\ud800"])
def test_the_hash_of_nobody_fits_no_password(alice: Store, name: str) -> None:
    assert alice.read(lambda transaction: sessions.stored_password(transaction, name)) == NOBODY


def test_a_password_and_its_hash() -> None:
    stored = hash_password("correct horse battery")
    assert is_password("correct horse battery", stored)
    assert not is_password("correct horse batterY", stored)
    assert not is_password("", NOBODY)
    assert stored.split("$")[:4] == NOBODY.split("$")[:4]
    assert stored != hash_password("correct horse battery")
