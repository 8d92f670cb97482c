"""What each role may do: every operation that there is has an entry in the table."""

import pytest

from gateway.manager.api.operation_names import CONTROL_OPERATIONS, EDGE_OPERATIONS
from gateway.manager.control import keys
from gateway.manager.control.access import ROLES, AccessKey, Role, allows, requested_action, require
from gateway.manager.errors import ApiError

CONTROL = {f"sagemaker:{each}" for each in CONTROL_OPERATIONS}
EDGE = {f"sagemaker-edge:{each}" for each in EDGE_OPERATIONS}
S3 = {
    *("s3:GetObject", "s3:ListBucket", "s3:ListAllMyBuckets", "s3:GetBucketLocation", "s3:PutObject"),
    *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads"),
    *("s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteObject"),
}
READS = {each for each in CONTROL if each.partition(":")[2].startswith(("Describe", "List", "Get"))}
DEPLOYS = {each for each in CONTROL - READS if "Job" in each or "EdgeDeployment" in each}


def allowed(role: Role) -> set[str]:
    return {each for each in CONTROL | EDGE | S3 if allows(role, each)}


def test_every_operation_is_in_the_table():
    own = {f"edge-manager:{each}" for each in keys.OPERATIONS}
    assert CONTROL | EDGE | S3 | own <= ROLES.keys()
    assert {each for each in ROLES if not each.startswith("edge-manager:")} == CONTROL | EDGE | S3


def test_what_each_role_may_do():
    reads_of_s3 = {"s3:GetObject", "s3:ListBucket", "s3:ListAllMyBuckets", "s3:GetBucketLocation"}
    deletes_of_s3 = {"s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteObject"}
    assert allowed(Role.GATEWAY) == EDGE | {"s3:GetObject"}
    assert allowed(Role.VIEWER) == READS | reads_of_s3
    assert allowed(Role.OPERATOR) == READS | DEPLOYS | S3 - deletes_of_s3
    assert allowed(Role.ADMIN) == CONTROL | EDGE | S3


@pytest.mark.parametrize("action", ["edge-manager:CreateAccessKey", "edge-manager:ListAudit", "sagemaker:CreateModel"])
def test_what_is_an_admins_alone(action):
    assert [role for role in Role if allows(role, action)] == [Role.ADMIN]


@pytest.mark.parametrize("role", ["", "root", "Admin"])
def test_a_role_that_there_is_not_may_do_nothing(role):
    assert not any(allows(role, action) for action in [*ROLES, "sagemaker:CreateModel"])


@pytest.mark.parametrize(
    ("target", "path", "action"),
    [
        (None, "SendHeartbeat", "sagemaker-edge:SendHeartbeat"),
        (None, "sendheartbeat", None),
        ("SageMaker.ListDevices", "", "sagemaker:ListDevices"),
        ("SageMaker.ListDevices", "SendHeartbeat", "sagemaker:ListDevices"),
        ("SageMaker.CreateModel", "", None),
        ("Other.ListDevices", "", None),
        ("SendHeartbeat", "", None),
        ("", "SendHeartbeat", None),
    ],
)
def test_the_action_of_a_request(target, path, action):
    assert requested_action(target, path) == action


@pytest.mark.parametrize(("action", "status"), [("sagemaker:ListDevices", 400), ("sagemaker-edge:SendHeartbeat", 403)])
def test_a_refusal_names_the_key_and_the_action(action, status):
    with pytest.raises(ApiError) as caught:
        require("AKID", "nobody", action)
    assert (caught.value.code, caught.value.status) == ("AccessDeniedException", status)
    assert caught.value.message == f"User: AKID is not authorized to perform: {action}"


def test_the_secret_is_not_shown():
    assert "hidden" not in repr(AccessKey("AKID", "hidden"))
