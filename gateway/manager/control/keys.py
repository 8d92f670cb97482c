"""Access keys: made, listed and revoked; and those that are valid, in memory, where each request finds its own.

A key that is revoked stays as a row without its secret: where a key was ever made, no request goes without one.
"""

import secrets
import string
from typing import Any

import sqlalchemy as sa

from gateway.manager.control.access import AccessKey, Role
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.store import Store, Transaction
from gateway.manager.store.control_tables import ACCESS_KEYS

MOST_VALID = 1000
"""Keys that are valid at once: each process reads all of them again and again."""
MOST_DESCRIPTION = 256
_ID = string.ascii_uppercase + "234567"
_SECRET = string.ascii_letters + string.digits + "+/"
_KEYS = ACCESS_KEYS.c
_IS_VALID = _KEYS.revoked.is_(None)


def create(call: ControlCall, asked: Members) -> Members:
    """Role, Description -> the key with its secret, which nobody can read here again."""
    role, description = asked["Role"], asked.get("Description", "")
    if role not in set(Role):
        raise validation_error(f"the role '{role}' is not one: {', '.join(Role)}")
    if len(description) > MOST_DESCRIPTION or not description.isprintable():
        raise validation_error(f"the description has more than {MOST_DESCRIPTION} characters, or control characters")
    valid = call.connection.execute(sa.select(sa.func.count()).where(_IS_VALID)).scalar_one()
    if valid >= MOST_VALID:
        raise ApiError("ResourceLimitExceeded", f"there are {valid:,} valid keys: revoke one that nobody uses")
    key = "EMKA" + "".join(secrets.choice(_ID) for _ in range(16))
    secret = "".join(secrets.choice(_SECRET) for _ in range(40))
    row = {"key": key, "secret": secret, "role": role, "description": description, "created": call.now}
    call.connection.execute(sa.insert(ACCESS_KEYS).values(row))
    members = _members(key, role, description, call.now, None)
    call.audit(_resource(key), None, members)
    return {**members, "SecretAccessKey": secret}


def list_all(call: ControlCall, asked: Members) -> Members:
    """Without their secrets, in order of their creation, also those that were revoked."""
    select = sa.select(_KEYS.key, _KEYS.role, _KEYS.description, _KEYS.created, _KEYS.revoked)
    rows = call.connection.execute(select.order_by(_KEYS.created, _KEYS.key))
    return {"AccessKeys": [_members(*row) for row in rows]}


def revoke(call: ControlCall, asked: Members) -> Members:
    """AccessKeyId -> the key as it is now. To revoke one twice changes nothing."""
    key = asked["AccessKeyId"]
    select = sa.select(_KEYS.role, _KEYS.description, _KEYS.created, _KEYS.revoked).where(_KEYS.key == key)
    found = call.connection.execute(select.with_for_update()).one_or_none()
    if found is None:
        raise ApiError("ResourceNotFound", f"there is no access key {key[:128]}")
    if found.revoked is not None:
        return _members(key, *found)
    update = sa.update(ACCESS_KEYS).where(_KEYS.key == key)
    call.connection.execute(update.values(secret="", revoked=call.now))
    before, after = _members(key, *found), _members(key, *found[:3], call.now)
    call.audit(_resource(key), before, after)
    return after


def _members(key: str, role: str, description: str, created: float, revoked: float | None) -> dict[str, Any]:
    members = {"AccessKeyId": key, "Role": role, "Description": description, "CreationTime": created}
    return members if revoked is None else members | {"RevocationTime": revoked}


def _resource(key: str) -> str:
    return f"access-key/{key}"


OPERATIONS = {
    "CreateAccessKey": ControlOperation(create, writes=True),
    "ListAccessKeys": ControlOperation(list_all),
    "RevokeAccessKey": ControlOperation(revoke, writes=True),
}


class KeyRing:
    """The valid keys, as `read` found them last. Any thread may ask.

    `own`: one that is in no store. `checks`: a request needs a key, since one was made; also where all are revoked.
    """

    def __init__(self, store: Store, own: AccessKey | None = None) -> None:
        self._store = store
        self._own = {} if own is None else {own.id: own}
        self._keys = self._own
        self.checks = own is not None

    def find(self, key_id: str) -> AccessKey | None:
        return self._keys.get(key_id)

    def read(self) -> bool:
        """Whether one was ever made. Raises StoreUnavailable: then those of the last time stay."""
        keys, any_made = self._store.read(_read)
        self._keys = keys | self._own
        self.checks = self.checks or any_made
        return any_made


def _read(transaction: Transaction) -> tuple[dict[str, AccessKey], bool]:
    rows = transaction.connection.execute(sa.select(_KEYS.key, _KEYS.secret, _KEYS.role).where(_IS_VALID)).all()
    is_made = bool(rows) or transaction.connection.scalar(sa.select(_KEYS.key).limit(1)) is not None
    return {key: AccessKey(key, secret, role) for key, secret, role in rows}, is_made
