"""Sessions of users in the database: opened, found, ended. A browser has a token, the database its hash alone."""

import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.manager.control.passwords import NOBODY
from gateway.manager.control.users import is_name
from gateway.manager.store import Transaction
from gateway.manager.store.control_tables import SESSIONS, USERS

IDLE = 12 * 3600.0
"""Seconds without a request after which a session ends."""
LONGEST = 7 * 86400.0
"""Seconds after which it ends in any case."""
EXACT = 60.0
"""Seconds by which the time of the last request may be older than it says."""
MOST = 20
"""Sessions of one user: the ones that were used longest ago end."""

_SESSIONS, _USERS = SESSIONS.c, USERS.c


@dataclass(frozen=True, slots=True)
class UserSession:
    """`is_stale`: `touch` is due."""

    user: str
    role: str
    is_stale: bool


def stored_password(transaction: Transaction, name: str) -> str:
    """The hash of a user's password; NOBODY's where there is no such user."""
    if not is_name(name):
        return NOBODY
    select = sa.select(_USERS.password).where(_USERS.name == name, _USERS.disabled.is_(None))
    return transaction.connection.scalar(select) or NOBODY


def open_session(transaction: Transaction, user: str, password: str, now: float) -> str | None:
    """The token of a new session; None: `password` (a hash) is that user's no more. Sessions that ended are deleted."""
    select = sa.select(_USERS.name).where(_USERS.name == user, _USERS.password == password, _USERS.disabled.is_(None))
    if transaction.connection.scalar(select.with_for_update()) is None:
        return None
    over = (_SESSIONS.used < now - IDLE - EXACT) | (_SESSIONS.created < now - LONGEST)
    transaction.connection.execute(sa.delete(SESSIONS).where(over))
    of_user = sa.select(_SESSIONS.token).where(_SESSIONS.user == user).order_by(_SESSIONS.used.desc(), _SESSIONS.token)
    surplus = transaction.connection.scalars(of_user.offset(MOST - 1)).all()
    transaction.connection.execute(sa.delete(SESSIONS).where(_SESSIONS.token.in_(surplus)))
    token = secrets.token_urlsafe(32)
    values = {"token": _hash(token), "user": user, "created": now, "used": now}
    transaction.connection.execute(sa.insert(SESSIONS).values(values))
    return token


def find_session(transaction: Transaction, token: str, now: float) -> UserSession | None:
    """None: it ended, or there never was one."""
    select = (
        sa.select(_USERS.name, _USERS.role, _SESSIONS.used)
        .join_from(SESSIONS, USERS)
        .where(_SESSIONS.token == _hash(token), _USERS.disabled.is_(None))
        .where(_SESSIONS.used >= now - IDLE, _SESSIONS.created >= now - LONGEST)
    )
    found = transaction.connection.execute(select).one_or_none()
    return None if found is None else UserSession(found.name, found.role, found.used < now - EXACT)


def touch(transaction: Transaction, token: str, now: float) -> None:
    """The session was used."""
    transaction.connection.execute(sa.update(SESSIONS).where(_SESSIONS.token == _hash(token)).values(used=now))


def end_session(transaction: Transaction, token: str) -> None:
    transaction.connection.execute(sa.delete(SESSIONS).where(_SESSIONS.token == _hash(token)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
