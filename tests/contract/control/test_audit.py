"""Every operation that changes something leaves a row of the audit: a new one that does not is found here."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from gateway.manager import ManagerError, Place, Store
from gateway.manager.api.operation_names import OWN_OPERATIONS
from gateway.manager.cli import app
from gateway.manager.control import ArnScope, Caller, ControlApi, ControlCall, keys
from gateway.manager.control.control_api import _SAGEMAKER
from gateway.manager.http.s3.targets import ACTIONS
from gateway.manager.reports import AuditReport
from gateway.manager.store import Auditor, ObjectStore, StoredFile, add_package, local_auditor, package_of
from gateway.manager.store.control_tables import ALERTS
from gateway.manager.store.object_audit import CHECKED
from gateway.manager.store.uploads import LEAST_PART
from tests.support.control_plane import audit_of
from tests.support.jobs import OUTPUT, compilation, packaging, put_model
from tests.support.manager_process import ACCESS
from tests.support.served_manager import ServedManager
from tests.support.stores import open_place

FLEET, PLAN, STAGE = {"DeviceFleetName": "f"}, {"EdgeDeploymentPlanName": "p"}, {"StageName": "s"}
ARN = ArnScope("eu-north-1", "123456789012").arn("device-fleet/f")
CHOSEN = {"DeviceSelectionConfig": {"DeviceSubsetType": "SELECTION", "DeviceNames": ["d"]}}
CONTROL: list[tuple[str, dict[str, Any], str]] = [
    ("CreateDeviceFleet", {**FLEET, "OutputConfig": OUTPUT}, "device-fleet/f"),
    ("UpdateDeviceFleet", {**FLEET, "OutputConfig": OUTPUT, "Description": "Cows"}, "device-fleet/f"),
    ("AddTags", {"ResourceArn": ARN, "Tags": [{"Key": "k", "Value": "v"}]}, "device-fleet/f"),
    ("DeleteTags", {"ResourceArn": ARN, "TagKeys": ["k"]}, "device-fleet/f"),
    ("RegisterDevices", {**FLEET, "Devices": [{"DeviceName": "d"}]}, "device-fleet/f/device/d"),
    ("UpdateDevices", {**FLEET, "Devices": [{"DeviceName": "d", "Description": "x"}]}, "device-fleet/f/device/d"),
    ("CreateCompilationJob", compilation("c", "s3://models/x"), "compilation-job/c"),
    ("CreateEdgePackagingJob", packaging("j", "c"), "edge-packaging-job/j"),
    ("StopEdgePackagingJob", {"EdgePackagingJobName": "j"}, "edge-packaging-job/j"),
    ("StopCompilationJob", {"CompilationJobName": "c"}, "compilation-job/c"),
    ("DeleteCompilationJob", {"CompilationJobName": "c"}, "compilation-job/c"),
    (
        "CreateEdgeDeploymentPlan",
        {**PLAN, **FLEET, "ModelConfigs": [{"ModelHandle": "kws", "EdgePackagingJobName": "PACKAGE"}]},
        "edge-deployment/p",
    ),
    ("CreateEdgeDeploymentStage", {**PLAN, "Stages": [{**STAGE, **CHOSEN}]}, "edge-deployment/p"),
    ("DeleteEdgeDeploymentStage", {**PLAN, **STAGE}, "edge-deployment/p"),
    ("CreateEdgeDeploymentStage", {**PLAN, "Stages": [{**STAGE, **CHOSEN}]}, "edge-deployment/p"),
    ("DeleteEdgeDeploymentPlan", PLAN, "edge-deployment/p"),
    (
        "CreateEdgeDeploymentPlan",
        {
            **PLAN,
            **FLEET,
            "ModelConfigs": [{"ModelHandle": "kws", "EdgePackagingJobName": "PACKAGE"}],
            "Stages": [{**STAGE, **CHOSEN}],
        },
        "edge-deployment/p",
    ),
    ("StartEdgeDeploymentStage", {**PLAN, **STAGE}, "edge-deployment/p"),
    ("StopEdgeDeploymentStage", {**PLAN, **STAGE}, "edge-deployment/p"),
    ("DeregisterDevices", {**FLEET, "DeviceNames": ["d"]}, "device-fleet/f/device/d"),
    ("CreateDeviceFleet", {"DeviceFleetName": "g", "OutputConfig": OUTPUT}, "device-fleet/g"),
    ("DeleteDeviceFleet", {"DeviceFleetName": "g"}, "device-fleet/g"),
]
"""(operation, its input, the resource of its row), each after the one before it; PACKAGE: one that is made."""
DEVICE, ROLLOUT = {**FLEET, "DeviceNames": ["d"]}, {**FLEET, "DeploymentName": "p"}
MODEL = {"Models": [{"ModelHandle": "kws", "S3Url": "FILE"}]}
OTHER = {**FLEET, "DeploymentName": "q"}
ALERT: dict[str, Any] = {"AlertName": "EdgeManagerDevicesSilent", "Subject": "f"}
OWN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("AddDevices", DEVICE, ["device-fleet/f", "device-fleet/f/device/d"]),
    ("LabelDevices", {**DEVICE, "Labels": [{"Key": "site", "Value": "x"}]}, ["device-fleet/f/device/d"]),
    ("Deploy", {**ROLLOUT, **DEVICE, **MODEL}, ["edge-packaging-job/PACKAGE", "device-fleet/f/deployment/p"]),
    ("PauseDeployment", ROLLOUT, ["device-fleet/f/deployment/p"]),
    ("ResumeDeployment", ROLLOUT, ["device-fleet/f/deployment/p"]),
    ("Undeploy", {**OTHER, **DEVICE, "ModelHandle": "kws"}, ["device-fleet/f/deployment/q"]),
    ("AbortDeployment", OTHER, ["device-fleet/f/deployment/q"]),
    ("UndoDeployment", ROLLOUT, ["device-fleet/f/deployment/p"]),
    ("CreateAccessKey", {"Role": "viewer"}, ["access-key/KEY"]),
    ("RevokeAccessKey", {"AccessKeyId": "KEY"}, ["access-key/KEY"]),
    ("CreateUser", {"UserName": "u", "Role": "viewer", "Password": "correct horse"}, ["user/u"]),
    ("ChangePassword", {"UserName": "u", "Password": "battery staple"}, ["user/u"]),
    ("DeleteUser", {"UserName": "u"}, ["user/u"]),
    ("MuteAlert", ALERT | {"Until": 1000.0}, ["alert/EdgeManagerDevicesSilent/f"]),
    ("UnmuteAlert", ALERT, ["alert/EdgeManagerDevicesSilent/f"]),
]
"""As `CONTROL`, of the operations that AWS's API has not. FILE: the URL of a model file; KEY: the key that is made;
PACKAGE: that of the file."""
READS = {
    *("ListBuckets", "HeadBucket", "GetBucketLocation", "ListObjects", "ListObjectsV2", "GetObject", "HeadObject"),
    *("ListMultipartUploads", "ListParts"),
}
PARTS = {"CreateMultipartUpload", "UploadPart", "UploadPartCopy", "AbortMultipartUpload"}
"""Of uploads: they make no object."""


@pytest.fixture
def api(place: Place, store: Store) -> ControlApi:
    """Without a background, which would carry out what the next operation is to stop."""
    return ControlApi(store, ObjectStore(place.data, store), ArnScope("eu-north-1", "123456789012"))


@pytest.fixture
def file(place: Place) -> StoredFile:
    return put_model(place)


def package(store: Store, file: StoredFile) -> str:
    return store.write(
        lambda transaction: (
            add_package(transaction.connection, "kws", None, file, 1.0, local_auditor("edge-manager:Deploy", 1.0)).name
        )
    )


def test_every_operation_of_the_control_plane_has_its_row(store: Store, api: ControlApi, file: StoredFile) -> None:
    name = package(store, file)
    [made] = audit_of(store)
    assert (made["resource"], made["after"]) == (
        f"edge-packaging-job/{name}",
        {"ModelName": "kws", "ModelVersion": file.sha1[:12], "ModelArtifact": file.url, "Size": file.size},
    )
    package(store, file)  # changes nothing
    known = 1
    for number, (operation, asked, resource) in enumerate(CONTROL):
        body = json.dumps(asked).replace("PACKAGE", name).encode()
        api.handle(f"SageMaker.{operation}", body, Caller("KEY", "admin", "10.0.0.1"), number + 2.0)
        rows = audit_of(store)[known:]
        known += len(rows)
        assert [(each["action"], each["resource"]) for each in rows] == [(f"sagemaker:{operation}", resource)]
        [row] = rows
        assert (row["key"], row["address"], row["at"]) == ("KEY", "10.0.0.1", number + 2.0)
        assert row["before"] != row["after"]
    assert {operation for operation, *_ in CONTROL} == {name for name, each in _SAGEMAKER.items() if each.writes}


def test_every_operation_that_aws_has_not_has_its_rows(store: Store, api: ControlApi, file: StoredFile) -> None:
    alert = {"name": ALERT["AlertName"], "subject": "f", "summary": "so", "since": 1.0}
    store.write(lambda transaction: transaction.connection.execute(sa.insert(ALERTS).values(alert)))
    caller, key, known = Caller("ADMIN", "admin", "10.0.0.1"), "", 0
    for number, (operation, asked, resources) in enumerate(OWN):
        body = json.dumps(asked).replace("FILE", file.url).replace("KEY", key).encode()
        key = json.loads(api.handle(f"EdgeManager.{operation}", body, caller, number + 1.0)).get("AccessKeyId", key)
        made = store.read(lambda transaction: package_of(transaction.connection, file.url))
        package_name = "" if made is None else made.name
        rows = audit_of(store)[known:]
        known += len(rows)
        expected = [each.replace("KEY", key).replace("PACKAGE", package_name) for each in resources]
        assert [each["resource"] for each in rows] == expected
        who = {(each["action"], each["key"], each["address"], each["at"]) for each in rows}
        assert who == {(f"edge-manager:{operation}", "ADMIN", "10.0.0.1", number + 1.0)}
        assert all(each["before"] != each["after"] for each in rows)
    reading = ("List", "Describe", "Get", "Count")
    assert {operation for operation, *_ in OWN} == {each for each in OWN_OPERATIONS if not each.startswith(reading)}


def test_what_goes_with_a_fleet_has_rows_too(store: Store, api: ControlApi, file: StoredFile) -> None:
    name, admin = package(store, file), Caller("KEY")
    store.write(lambda transaction: transaction.register("f", ["d"], 1.0, local_auditor("a", 1.0)))
    assert [each["resource"] for each in audit_of(store)][1:] == ["device-fleet/f", "device-fleet/f/device/d"]
    plan = {**PLAN, **FLEET, "ModelConfigs": [{"ModelHandle": "kws", "EdgePackagingJobName": name}]}
    api.handle("SageMaker.CreateEdgeDeploymentPlan", json.dumps(plan).encode(), admin, 2.0)
    api.handle("SageMaker.DeregisterDevices", json.dumps({**FLEET, "DeviceNames": ["d"]}).encode(), admin, 3.0)
    api.handle("SageMaker.DeleteDeviceFleet", json.dumps(FLEET).encode(), admin, 4.0)
    gone = audit_of(store)[-2:]
    assert [(each["action"], each["resource"], each["after"]) for each in gone] == [
        ("sagemaker:DeleteDeviceFleet", "edge-deployment/p", None),
        ("sagemaker:DeleteDeviceFleet", "device-fleet/f", None),
    ]


def test_keys_have_rows(store: Store) -> None:
    def call(operation: Callable[..., Any], **asked: str) -> Any:
        return store.write(
            lambda transaction: operation(ControlCall(transaction, Caller(), ArnScope(), "edge-manager:X", 1.0), asked)
        )

    key = call(keys.create, Role="viewer")["AccessKeyId"]
    call(keys.revoke, AccessKeyId=key)
    call(keys.revoke, AccessKeyId=key)  # changes nothing
    assert [each["resource"] for each in audit_of(store)] == [f"access-key/{key}"] * 2
    assert sum(each.writes for each in keys.OPERATIONS.values()) == 2


class Objects:
    """Calls of S3, and the rows that each one makes."""

    def __init__(self, served: ServedManager, store: Store) -> None:
        self._client = served.client("s3")
        self._store = store
        self.done: set[str] = set()
        self._known = 0

    def call(self, operation: str, **asked: Any) -> tuple[Any, list[AuditReport]]:
        answer = self._client._make_api_call(operation, asked)
        self.done.add(operation)
        rows = audit_of(self._store)[self._known :]
        self._known += len(rows)
        assert {(each["key"], each["address"], each["action"]) for each in rows} <= {
            (ACCESS, "127.0.0.1", f"s3:{operation}")
        }
        return answer, rows

    def change(self, operation: str, **asked: Any) -> list[tuple[Any, ...]]:
        """(resource, size before, size after) of its rows."""
        _, rows = self.call(operation, **asked)
        return [(each["resource"], *(_size(each[name]) for name in ("before", "after"))) for each in rows]


def _size(state: dict[str, Any] | None) -> Any:
    return state if state is None else state.get("Size", state)


@pytest.fixture
def objects(served: ServedManager, place: Place) -> Iterator[Objects]:
    with open_place(place) as store:
        yield Objects(served, store)


def test_every_operation_of_s3_that_changes_an_object_has_its_row(objects: Objects) -> None:
    bucket = {"Bucket": "bar"}
    assert objects.change("CreateBucket", **bucket) == [("s3://bar", None, {"Bucket": "bar"})]
    answer, [row] = objects.call("PutObject", **bucket, Key="a/b", Body=b"hello")
    listed = objects.call("ListObjectsV2", **bucket)[0]["Contents"]
    modified = listed[0]["LastModified"].timestamp()
    after = {"Size": 5, "ETag": answer["ETag"].strip('"'), "LastModified": pytest.approx(modified, abs=0.01)}
    assert (row["resource"], row["before"], row["after"]) == ("s3://bar/a/b", None, after)
    with pytest.raises(ClientError, match="PreconditionFailed"):  # the next call's rows are all that there are
        objects.call("PutObject", **bucket, Key="a/b", Body=b"x", IfNoneMatch="*")
    _, [again] = objects.call("PutObject", **bucket, Key="a/b", Body=b"hello again")
    assert (again["before"], again["after"]["Size"]) == (row["after"], 11)  # type: ignore[index]
    assert objects.change("CopyObject", **bucket, Key="c", CopySource="bar/a/b") == [("s3://bar/c", None, 11)]
    upload = {**bucket, "Key": "large"}
    begun, rows = objects.call("CreateMultipartUpload", **upload)
    upload["UploadId"] = begun["UploadId"]
    part, more = objects.call("UploadPart", **upload, PartNumber=1, Body=bytes(LEAST_PART))
    copied, none = objects.call("UploadPartCopy", **upload, PartNumber=2, CopySource="bar/c")
    assert rows + more + none == []
    tags = [part["ETag"], copied["CopyPartResult"]["ETag"]]
    parts = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
    completed = objects.change("CompleteMultipartUpload", **upload, MultipartUpload=parts)
    assert completed == [("s3://bar/large", None, LEAST_PART + 11)]
    other = objects.call("CreateMultipartUpload", **bucket, Key="c")[0]["UploadId"]
    assert objects.change("AbortMultipartUpload", **bucket, Key="c", UploadId=other) == []
    assert objects.change("DeleteObject", **bucket, Key="none") == []
    assert objects.change("DeleteObject", **bucket, Key="c") == [("s3://bar/c", 11, None)]
    named = {"Objects": [{"Key": key} for key in ("a/b", "none", "large", "a/b")]}
    deleted = objects.change("DeleteObjects", **bucket, Delete=named)
    assert sorted(deleted) == [("s3://bar/a/b", 11, None), ("s3://bar/large", LEAST_PART + 11, None)]
    assert objects.change("DeleteBucket", **bucket) == [("s3://bar", {"Bucket": "bar"}, None)]
    assert objects.done - READS == set(ACTIONS) - READS
    assert objects.done > PARTS


def test_serve_tells_at_its_start_what_a_kill_left(tmp_path: Path) -> None:
    row = ("s3://bar/x", None, {"Size": 5})
    with open_place(Place(tmp_path)) as store:
        store.write(
            lambda transaction: Auditor("", "", "s3:PutObject", 1.0).add(
                transaction.connection, [("device-fleet/f", None, {}), row]
            )
        )
        store.write(lambda transaction: transaction.register("f", ["d"], 2.0, local_auditor("a", 2.0)))
        known = len(audit_of(store))
        with ServedManager(Place(tmp_path)):
            [found] = audit_of(store)[known:]
    assert (found["action"], found["resource"], found["before"], found["after"]) == (CHECKED, row[0], row[2], None)


@pytest.mark.parametrize(
    ("variable", "option", "text"),
    [
        ("EDGE_MANAGER_REGION", "--region", "'1 2' is not a region"),
        ("EDGE_MANAGER_ACCOUNT", "--account", "'1 2' is not an account: 12 digits"),
    ],
)
def test_serve_takes_both_from_options_and_the_environment(
    tmp_path: Path, variable: str, option: str, text: str
) -> None:
    line = f"edge-gateway manager: {option} {text}"
    for words, environment in (([option, "1 2"], {}), ([], {variable: "1 2"})):
        done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "data"), *words], env=environment)
        assert (done.exit_code, line in done.output) == (2, True)
    assert not (tmp_path / "data").exists()


def test_region_and_account_are_in_arns_and_buckets(tmp_path: Path) -> None:
    with ServedManager(Place(tmp_path), scope=ArnScope("eu-north-1", "123456789012")) as served:
        sagemaker, s3 = served.client("sagemaker"), served.client("s3")
        sagemaker.create_device_fleet(**FLEET, OutputConfig=OUTPUT)
        sagemaker.add_tags(ResourceArn=ARN, Tags=[{"Key": "k", "Value": "v"}])
        assert sagemaker.describe_device_fleet(**FLEET)["DeviceFleetArn"] == ARN
        s3.create_bucket(Bucket="bar", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        assert s3.get_bucket_location(Bucket="bar")["LocationConstraint"] == "eu-north-1"
        assert s3.head_bucket(Bucket="bar")["BucketRegion"] == "eu-north-1"


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        (("eu north", "1" * 12), "--region 'eu north' is not a region: lower-case letters, digits, hyphens"),
        (("", "1" * 12), "--region '' is not"),
        (("eu-north-1", "12345678901"), "--account '12345678901' is not an account: 12 digits"),
        (("eu-north-1", "\u0661" * 12), "is not an account"),
    ],
)
def test_a_region_or_an_account_that_is_none(scope: tuple[str, str], text: str) -> None:
    with pytest.raises(ManagerError, match=text):
        ArnScope(*scope)
