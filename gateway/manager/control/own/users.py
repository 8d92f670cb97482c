"""Users of the console, as an administrator makes, lists and removes them. A password is hashed before it is stored."""

from collections.abc import Mapping
from functools import partial

from gateway.manager.control import users
from gateway.manager.control.calls import ControlCall, ControlOperation, Members, StoreCall, StoreOperation
from gateway.manager.control.passwords import hash_password


def create(call: StoreCall, asked: Members) -> Members:
    """To hash takes a tenth of a second, for which no transaction waits."""
    users.check(asked["UserName"], asked["Role"])
    users.check_password(asked["Password"])
    hashed = hash_password(asked["Password"])
    return call.write(partial(users.add, name=asked["UserName"], role=asked["Role"], password=hashed))


def list_all(call: ControlCall, asked: Members) -> Members:
    return {"Users": users.list_all(call.transaction)}


def delete(call: ControlCall, asked: Members) -> None:
    users.remove(call, asked["UserName"])


def change_password(call: StoreCall, asked: Members) -> Members:
    users.check_password(asked["Password"])
    hashed = hash_password(asked["Password"])
    call.write(partial(users.change_password, name=asked["UserName"], password=hashed))
    return {}


OPERATIONS: Mapping[str, ControlOperation | StoreOperation] = {
    "CreateUser": StoreOperation(create),
    "ListUsers": ControlOperation(list_all),
    "DeleteUser": ControlOperation(delete, writes=True),
    "ChangePassword": StoreOperation(change_password),
}
