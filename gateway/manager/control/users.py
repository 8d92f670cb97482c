"""Users of the console: made, listed, removed, and their passwords changed. The caller hashes the password before.

A user who is removed stays as a row without a password, so that nobody gets in without one from then on.
"""

import re
from collections.abc import Collection

import sqlalchemy as sa

from gateway.manager.control.access import Role
from gateway.manager.control.calls import ControlCall, Members
from gateway.manager.control.passwords import LEAST, MOST
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.store import Transaction
from gateway.manager.store.control_tables import SESSIONS, USERS

USER_ROLES: Collection[str] = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
MOST_USERS = 1000
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?")
_USERS = USERS.c
_IS_ENABLED = _USERS.disabled.is_(None)


def is_name(name: str) -> bool:
    """Whether a user may be called so."""
    return _NAME.fullmatch(name) is not None


def check(name: str, role: str) -> None:
    """Raises ApiError where there can be no such user."""
    if not is_name(name):
        what = "1 to 64 letters, digits, '.', '_', '@' and '-', at both ends a letter or a digit"
        raise validation_error(f"the name {name[:80]!r} is none of a user: should be {what}")
    if role not in USER_ROLES:
        raise validation_error(f"the role {role[:80]!r} is none of a user: should be {', '.join(USER_ROLES)}")


def check_password(password: str) -> None:
    """Raises ApiError where it is too short or too long."""
    if len(password) < LEAST or len(password.encode()) > MOST:
        found = f"has {len(password)} characters"
        raise validation_error(f"the password {found}: should be {LEAST} or more, and at most {MOST} bytes")


def add(call: ControlCall, name: str, role: str, password: str) -> Members:
    """`password`: its hash. One who was removed is made anew."""
    check(name, role)
    found = call.connection.execute(sa.select(USERS).where(_USERS.name == name).with_for_update()).one_or_none()
    if found is not None and found.disabled is None:
        raise ApiError("ResourceInUse", f"there is a user {name}: remove that one first, or change the password")
    enabled = call.connection.execute(sa.select(sa.func.count()).where(_IS_ENABLED)).scalar_one()
    if enabled >= MOST_USERS:
        raise ApiError("ResourceLimitExceeded", f"there are {enabled:,} users: remove one who needs it no more")
    values = {"role": role, "password": password, "created": call.now, "disabled": None}
    if found is None:
        call.connection.execute(sa.insert(USERS).values(name=name, **values))
    else:
        call.connection.execute(sa.update(USERS).where(_USERS.name == name).values(values))
    members = _members(name, role, call.now, None)
    call.audit(_resource(name), None, members)
    return members


def list_all(transaction: Transaction) -> list[Members]:
    """Without their passwords, in the order of their names, also those who were removed."""
    select = sa.select(_USERS.name, _USERS.role, _USERS.created, _USERS.disabled).order_by(_USERS.name)
    return [_members(*row) for row in transaction.connection.execute(select)]


def remove(call: ControlCall, name: str) -> None:
    """Their sessions end with them."""
    role, created = _enabled(call, name)
    values = {"password": "", "disabled": call.now}
    call.connection.execute(sa.update(USERS).where(_USERS.name == name).values(values))
    _end_sessions(call, name)
    before, after = _members(name, role, created, None), _members(name, role, created, call.now)
    call.audit(_resource(name), before, after)


def change_password(call: ControlCall, name: str, password: str) -> None:
    """`password`: its hash. The user's sessions end."""
    _enabled(call, name)
    call.connection.execute(sa.update(USERS).where(_USERS.name == name).values(password=password))
    _end_sessions(call, name)
    call.audit(_resource(name), None, {"PasswordChangeTime": call.now})


def any_made(transaction: Transaction) -> bool:
    """Whether there ever was a user."""
    return transaction.connection.scalar(sa.select(_USERS.name).limit(1)) is not None


def _enabled(call: ControlCall, name: str) -> tuple[str, float]:
    select = sa.select(_USERS.role, _USERS.created).where(_USERS.name == name, _IS_ENABLED).with_for_update()
    found = call.connection.execute(select).one_or_none()
    if found is None:
        raise ApiError("ResourceNotFound", f"there is no user {name[:80]}")
    return found.role, found.created


def _end_sessions(call: ControlCall, name: str) -> None:
    call.connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.user == name))


def _members(name: str, role: str, created: float, disabled: float | None) -> Members:
    members = {"UserName": name, "Role": role, "CreationTime": created}
    return members if disabled is None else members | {"RemovalTime": disabled}


def _resource(name: str) -> str:
    return f"user/{name}"
