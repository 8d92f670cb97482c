"""The model store as boto3's S3 client and awscli see it: a plan's URL resolves."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from tests.support.manager_process import Manager

CONTENT = bytes(range(256)) * 4000
WHO = {"DeviceFleetName": "f", "DeviceName": "d"}


@pytest.fixture(scope="module", params=["manager", "guarded"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Manager:
    """A manager with one model deployed, once without and once with signatures."""
    manager: Manager = request.getfixturevalue(request.param)
    file = tmp_path_factory.mktemp("model") / "kws.tflite"
    file.write_bytes(CONTENT)
    manager.run("deploy", "f", "d", f"kws={file}")
    return manager


@pytest.fixture(scope="module")
def where(served: Manager) -> dict[str, str]:
    """Bucket and Key as the plan gives them."""
    plans = served.client("sagemaker-edge").get_deployments(**WHO)["Deployments"]
    definition = plans[-1]["Definitions"][0]
    assert definition["Checksum"] == {"Type": "SHA1", "Sum": hashlib.sha1(CONTENT).hexdigest()}
    url = urlsplit(definition["S3Url"])
    assert url.scheme == "s3"
    return {"Bucket": url.netloc, "Key": url.path.removeprefix("/")}


def error_of(call: Callable[..., object], **members: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_the_whole_file(served: Manager, where: dict[str, str]) -> None:
    answer = served.client("s3").get_object(**where)
    assert answer["Body"].read() == CONTENT
    assert answer["ContentLength"] == len(CONTENT)
    assert answer["ETag"] == f'"{hashlib.md5(CONTENT).hexdigest()}"'
    assert answer["AcceptRanges"] == "bytes"


def test_the_head_alone(served: Manager, where: dict[str, str]) -> None:
    head = served.client("s3").head_object(**where)
    assert (head["ContentLength"], head["ETag"]) == (len(CONTENT), f'"{hashlib.md5(CONTENT).hexdigest()}"')
    assert head["LastModified"] == served.client("s3").get_object(**where)["LastModified"]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=300000-900000", slice(300_000, 900_001)),
        (f"bytes={len(CONTENT) - 1}-", slice(-1, None)),
        ("bytes=-7", slice(-7, None)),
    ],
)
def test_a_range(served: Manager, where: dict[str, str], asked: str, part: "slice[int, int | None]") -> None:
    answer = served.client("s3").get_object(**where, Range=asked)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["Body"].read() == CONTENT[part]
    start = range(len(CONTENT))[part].start
    assert answer["ContentRange"] == f"bytes {start}-{start + len(CONTENT[part]) - 1}/{len(CONTENT)}"


def test_errors(served: Manager, where: dict[str, str]) -> None:
    s3 = served.client("s3")
    assert error_of(s3.get_object, **where, Range=f"bytes={len(CONTENT)}-") == ("InvalidRange", 416)
    assert error_of(s3.get_object, **where, IfMatch='"other"') == ("PreconditionFailed", 412)
    etag = s3.head_object(**where)["ETag"]
    assert error_of(s3.get_object, **where, IfNoneMatch=etag) == ("304", 304)
    assert error_of(s3.get_object, Bucket="models", Key="kws/none") == ("NoSuchKey", 404)
    assert error_of(s3.get_object, Bucket="none", Key="kws") == ("NoSuchBucket", 404)
    assert error_of(s3.head_object, Bucket="models", Key="kws/none") == ("404", 404)
    assert error_of(s3.get_object, Bucket="models", Key="../../manager.sqlite3") == ("NoSuchKey", 404)


def test_a_condition_is_answered_as_s3_does(served: Manager, where: dict[str, str]) -> None:
    s3 = served.client("s3")
    modified = s3.head_object(**where)["LastModified"]
    before, etag = modified - timedelta(days=1), s3.head_object(**where)["ETag"]
    assert error_of(s3.get_object, **where, IfModifiedSince=modified) == ("304", 304)
    assert error_of(s3.get_object, **where, IfUnmodifiedSince=before) == ("PreconditionFailed", 412)
    assert error_of(s3.head_object, **where, IfUnmodifiedSince=before) == ("412", 412)
    s3.get_object(**where, IfModifiedSince=before)["Body"].close()
    s3.get_object(**where, IfMatch=etag, IfUnmodifiedSince=before)["Body"].close()
    assert error_of(s3.get_object, **where, IfNoneMatch=etag, IfModifiedSince=before) == ("304", 304)


def test_a_range_of_another_version_gives_the_whole_file(served: Manager, where: dict[str, str]) -> None:
    s3 = served.client("s3")
    conditions = [s3.head_object(**where)["ETag"], '"another"']

    def add(request: AWSRequest, **rest: object) -> None:
        request.headers["If-Range"] = conditions[0]

    s3.meta.events.register("before-sign.s3.GetObject", add)
    assert s3.get_object(**where, Range="bytes=0-9")["Body"].read() == CONTENT[:10]
    del conditions[0]
    assert s3.get_object(**where, Range="bytes=0-9")["Body"].read() == CONTENT


def test_what_is_not_implemented_says_so(served: Manager, where: dict[str, str]) -> None:
    s3 = served.client("s3")
    for call in (s3.get_object_acl, s3.get_object_torrent, s3.get_object_legal_hold):
        assert error_of(call, **where) == ("NotImplemented", 501)
    assert error_of(s3.get_bucket_versioning, Bucket="models") == ("NotImplemented", 501)
    assert error_of(s3.get_object, **where, VersionId="3") == ("NoSuchVersion", 404)
    assert s3.get_object(**where, VersionId="null")["Body"].read() == CONTENT
    assert error_of(s3.get_object, **where, PartNumber=2) == ("InvalidPartNumber", 416)
    assert s3.get_object(**where, PartNumber=1)["Body"].read() == CONTENT


def test_keys_that_must_be_encoded(served: Manager) -> None:
    folder = served.data / "objects" / "models" / "by hand"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "caf\u00e9+~?#%41.bin").write_bytes(b"odd")
    answer = served.client("s3").get_object(Bucket="models", Key="by hand/caf\u00e9+~?#%41.bin")
    assert answer["Body"].read() == b"odd"


def test_boto3_downloads_by_its_transfer_manager(served: Manager, where: dict[str, str], tmp_path: Path) -> None:
    served.client("s3").download_file(where["Bucket"], where["Key"], str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_awscli_copies_a_plans_url(served: Manager, where: dict[str, str], tmp_path: Path) -> None:
    done = served.aws("s3", "cp", f"s3://{where['Bucket']}/{where['Key']}", str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_signatures(guarded: Manager) -> None:
    where = {"Bucket": "models", "Key": "any"}
    assert error_of(guarded.client("s3", secret="wrong").get_object, **where) == ("SignatureDoesNotMatch", 403)
    assert error_of(guarded.client("s3", access="STRANGER").get_object, **where) == ("InvalidAccessKeyId", 403)
    assert error_of(guarded.client("s3", secret="wrong").head_object, **where) == ("403", 403)
