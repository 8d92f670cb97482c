"""Access keys as callers have them: roles, new and revoked keys, who did what."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import sqlalchemy as sa
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.manager import ManagerError, Place, Store, open_store
from gateway.manager.control import ArnScope, Caller, ControlCall, keys
from gateway.manager.errors import ApiError
from gateway.manager.http import AccessKey, ServerConfig, serving
from gateway.manager.reports import audit_rows
from gateway.manager.store.control_tables import ACCESS_KEYS
from tests.support.arrivals import DEADLINE_S
from tests.support.control_plane import audit_of
from tests.support.manager_process import ACCESS
from tests.support.served_manager import ServedManager

OUTPUT = {"S3OutputLocation": "s3://models/fleet"}
DEVICE = {"DeviceFleetName": "f", "DeviceName": "d"}


@pytest.fixture
def store(served: ServedManager, place: Place) -> Iterator[Store]:
    """As another process has it."""
    with contextlib.closing(open_store(place, create=False)) as store:
        yield store


def run(store: Store, operation: Callable[..., Any], **asked: str) -> Any:
    """As a command on the manager's machine."""

    def work(transaction: Any) -> Any:
        return operation(
            ControlCall(transaction, Caller(address="local:me"), ArnScope(), "edge-manager:X", time.time()), asked
        )

    return store.write(work)


def make(store: Store, role: str) -> tuple[str, str]:
    made = run(store, keys.create, Role=role)
    return made["AccessKeyId"], made["SecretAccessKey"]


def refusal(call: Callable[..., Any], **asked: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**asked)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_new_key_works_at_once_and_its_role_holds(served: ServedManager, store: Store) -> None:
    store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
    key = make(store, "gateway")
    edge, control, models = (served.client(each, *key) for each in ("sagemaker-edge", "sagemaker", "s3"))
    assert edge.get_device_registration(**DEVICE)["DeviceRegistration"] == "REGISTERED"
    with pytest.raises(ClientError, match=f"User: {key[0]} is not authorized to perform: sagemaker:CreateDeviceFleet"):
        control.create_device_fleet(DeviceFleetName="g", OutputConfig=OUTPUT)
    assert refusal(control.describe_device_fleet, DeviceFleetName="f") == ("AccessDeniedException", 400)
    assert refusal(models.get_object, Bucket="models", Key="none")[0] in ("NoSuchKey", "NoSuchBucket")


def test_two_keys_have_two_roles(served: ServedManager, store: Store) -> None:
    store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
    viewer, admin = make(store, "viewer"), make(store, "admin")
    found = served.client("sagemaker", *viewer).describe_device_fleet(DeviceFleetName="f")
    assert found["DeviceFleetName"] == "f"
    heartbeat = served.client("sagemaker-edge", *viewer).send_heartbeat
    assert refusal(heartbeat, AgentVersion="1", **DEVICE) == ("AccessDeniedException", 403)
    create = {"DeviceFleetName": "g", "OutputConfig": OUTPUT}
    assert refusal(served.client("sagemaker", *viewer).create_device_fleet, **create)[0] == "AccessDeniedException"
    assert (
        refusal(served.client("sagemaker", viewer[0], admin[1]).list_tags, ResourceArn="arn:aws:sagemaker:::x")[1]
        == 403
    )
    served.client("sagemaker", *admin).create_device_fleet(**create)


def test_a_revoked_key_ends(served: ServedManager, store: Store) -> None:
    key = make(store, "viewer")
    client = served.client("sagemaker", *key)
    assert refusal(client.describe_device_fleet, DeviceFleetName="none")[0] == "ValidationException"
    revoked = run(store, keys.revoke, AccessKeyId=key[0])
    assert run(store, keys.revoke, AccessKeyId=key[0]) == revoked
    deadline = time.monotonic() + DEADLINE_S
    while (found := refusal(client.describe_device_fleet, DeviceFleetName="none"))[0] == "ValidationException":
        assert time.monotonic() < deadline
    assert found == ("UnrecognizedClientException", 403)
    [left] = run(store, keys.list_all)["AccessKeys"]
    assert (left["AccessKeyId"], "RevocationTime" in left) == (key[0], True)
    assert key[1] not in str(
        store.read(lambda transaction: transaction.connection.execute(sa.select(ACCESS_KEYS)).all())
    )


@pytest.mark.parametrize("secret", ["+/=%20&", "with space", "quote'\"\\;--", "Umlaut \u00e4\u20ac\U0001f511"])
def test_a_secret_with_odd_characters(served: ServedManager, store: Store, secret: str) -> None:
    row = {"key": "ODD", "secret": secret, "role": "viewer", "created": 1.0}
    store.write(lambda transaction: transaction.connection.execute(sa.insert(ACCESS_KEYS).values(row)))
    client = served.client("sagemaker", "ODD", secret)
    assert refusal(client.describe_device_fleet, DeviceFleetName="none")[0] == "ValidationException"
    other = served.client("sagemaker", "ODD", secret + " ")
    assert refusal(other.describe_device_fleet, DeviceFleetName="none")[0] == "InvalidSignatureException"


def test_a_session_token_from_elsewhere_changes_nothing(served: ServedManager, store: Store) -> None:
    key = make(store, "viewer")
    session = boto3.Session(*key, aws_session_token="left in the environment", region_name="eu-west-1")
    client = session.client("sagemaker", endpoint_url=served.url, config=Config(retries={"total_max_attempts": 1}))
    assert refusal(client.describe_device_fleet, DeviceFleetName="none")[0] == "ValidationException"


def test_a_caller_with_an_unknown_key_is_answered_before_its_body(served: ServedManager) -> None:
    host, _, port = served.url.removeprefix("http://").partition(":")
    signed = "AWS4-HMAC-SHA256 Credential=NOBODY/20260101/r/sagemaker/aws4_request, SignedHeaders=host, Signature="
    lines = ["POST /SendHeartbeat HTTP/1.1", "Host: x", "Content-Length: 1000000", f"Authorization: {signed}{'0' * 64}"]
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + b"{" * 1000)
        assert client.recv(1000).startswith(b"HTTP/1.1 403 ")


def test_a_change_is_an_audit_row(served: ServedManager, store: Store, sagemaker: Any) -> None:
    sagemaker.create_device_fleet(DeviceFleetName="f", OutputConfig=OUTPUT)
    key, _ = make(store, "viewer")
    fleet, made = audit_of(store)
    assert (fleet["key"], fleet["address"], fleet["action"]) == (ACCESS, "127.0.0.1", "sagemaker:CreateDeviceFleet")
    assert (fleet["resource"], fleet["before"]) == ("device-fleet/f", None)
    assert fleet["after"] == {"DeviceFleetName": "f", "OutputConfig": OUTPUT}
    assert (made["key"], made["address"], made["resource"]) == ("", "local:me", f"access-key/{key}")
    assert "Secret" not in str(made)
    assert store.read(lambda transaction: audit_rows(transaction, resource="device-fleet/f")) == [fleet]
    assert store.read(lambda transaction: audit_rows(transaction, since=made["at"])) == [made]
    assert store.read(lambda transaction: audit_rows(transaction, limit=1)) == [made]


def test_the_text_of_a_row_is_bounded(store: Store) -> None:
    def work(transaction: Any) -> None:
        call = ControlCall(transaction, Caller(), ArnScope(), "a", 1.0)
        call.audit("r", {"short": 1}, {"long": '\u20ac"' * 100_000})

    store.write(work)
    [row] = audit_of(store)
    assert row["before"] == {"short": 1}
    assert row["after"] is not None
    assert len(str(row["after"])) < 10_000


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"Role": "root"}, "gateway, viewer, operator, admin"),
        ({"Role": "admin", "Description": "x" * 257}, "256"),
        ({"Role": "admin", "Description": "\x1b[2J"}, "control"),
    ],
)
def test_a_key_that_cannot_be(store: Store, asked: dict[str, str], text: str) -> None:
    with pytest.raises(ApiError, match=text):
        run(store, keys.create, **asked)
    assert run(store, keys.list_all)["AccessKeys"] == []


def test_an_unknown_key_cannot_be_revoked(store: Store) -> None:
    with pytest.raises(ApiError, match="no access key NOBODY"):
        run(store, keys.revoke, AccessKeyId="NOBODY")


def test_without_a_key_it_serves_its_own_machine_alone(place: Place) -> None:
    async def start(host: str) -> bool:
        async with serving(ServerConfig(place, host)) as served:
            return served.signed

    assert asyncio.run(start("127.0.0.1")) is False
    with pytest.raises(ManagerError, match=r"--host 0\.0\.0\.0.*keys add"):
        asyncio.run(start("0.0.0.0"))
    with contextlib.closing(open_store(place, create=False)) as store:
        key = run(store, keys.create, Role="gateway")["AccessKeyId"]
        assert asyncio.run(start("127.0.0.1")) is True
        run(store, keys.revoke, AccessKeyId=key)
    assert asyncio.run(start("127.0.0.1")) is True  # a revocation opens nothing


def test_the_first_key_ends_calls_without_one(place: Place) -> None:
    with ServedManager(place, access_key=None) as served, contextlib.closing(open_store(place, create=False)) as store:
        client = served.client("sagemaker", "any", "any")
        assert refusal(client.describe_device_fleet, DeviceFleetName="none")[0] == "ValidationException"
        make(store, "gateway")
        deadline = time.monotonic() + DEADLINE_S
        while (found := refusal(client.describe_device_fleet, DeviceFleetName="none"))[0] == "ValidationException":
            assert time.monotonic() < deadline
        assert found[0] == "UnrecognizedClientException"


def test_one_that_is_given_to_serve_is_an_admins(place: Place) -> None:
    with ServedManager(place, access_key=AccessKey("OWN", "secret")) as served:
        served.client("sagemaker", "OWN", "secret").create_device_fleet(DeviceFleetName="f", OutputConfig=OUTPUT)
