"""S3's writing clients, unmodified, against real managers: boto3, its transfer manager, awscli.

With PostgreSQL two managers with folders of their own answer in turn, as behind a load balancer.
"""

import base64
import hashlib
import itertools
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.cloud import CredentialSource, make_session
from gateway.files import make_s3_client, s3_call
from gateway.manager.store.uploads import LEAST_PART
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import ACCESS, SECRET, Manager
from tests.support.polling import until
from tests.support.postgres import Postgres, new_database

PART = LEAST_PART
LARGE = hashlib.shake_128(b"large").digest(2 * PART + 1000)
PARTS = [LARGE[:PART], LARGE[PART : 2 * PART], LARGE[2 * PART :]]
ETAG = f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in PARTS)).hexdigest()}-3"'
"""By S3's rule."""
WHO = {"DeviceFleetName": "f", "DeviceName": "d"}


class Site:
    """Managers of one database, and clients that ask them in turn."""

    def __init__(self, managers: list[Manager]) -> None:
        self.managers = managers
        self._turn = itertools.cycle(managers)
        self._clients: dict[str, Any] = {}

    def manager(self) -> Manager:
        return next(self._turn)

    @property
    def s3(self) -> Any:
        return self.client(self.manager())

    @property
    def all(self) -> list[Any]:
        """A client of each."""
        return [self.client(each) for each in self.managers]

    def client(self, manager: Manager) -> Any:
        if manager.url not in self._clients:
            self._clients[manager.url] = manager.client("s3")
        return self._clients[manager.url]

    def aws(self, *arguments: str) -> str:
        done = self.manager().aws("s3", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, make_manager: Callable[..., Manager], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(SECRET + "\n")
    keys = ["--access-key", ACCESS, "--secret-key-file", str(secret)]
    if request.param == "sqlite":
        yield Site([make_manager(*keys)])
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with new_database(postgres) as url:
        made = Site([make_manager(*keys, "--database", url) for _ in range(2)])
        for each in made.managers:
            each.database = url
        yield made
        for each in made.managers:
            each.stop()


@pytest.fixture
def bucket(site: Site, request: pytest.FixtureRequest) -> str:
    """A new one, of the test's own."""
    name = f"b{hashlib.sha1(request.node.name.encode()).hexdigest()}"
    site.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


def error_of(call: Callable[..., object], **members: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def keys(site: Site, bucket: str) -> list[str]:
    return [each["Key"] for each in site.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def read(site: Site, bucket: str, key: str, **options: Any) -> bytes:
    """From every manager: all have the same."""
    found = {
        manager.client("s3").get_object(Bucket=bucket, Key=key, **options)["Body"].read() for manager in site.managers
    }
    (content,) = found
    return bytes(content)


def over_tls(site: Site, **options: Any) -> Any:
    """A client that takes the endpoint for one with TLS, and so signs no body and sends trailers; what it sends goes to
    the plain port."""
    manager = site.manager()
    made = boto3.client(
        "s3",
        endpoint_url=manager.url.replace("http:", "https:"),
        region_name="eu-west-1",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}, **options),
    )

    def send(request: AWSPreparedRequest, **rest: object) -> None:
        request.url = str(request.url).replace("https:", "http:")

    made.meta.events.register("before-send.s3", send)
    return made


# Objects in one piece


def test_an_object_is_put_replaced_and_deleted(site: Site, bucket: str) -> None:
    for content in (b"one", b"another", b""):
        put = site.s3.put_object(Bucket=bucket, Key="a/b c+\u00e9", Body=content)
        assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
        assert read(site, bucket, "a/b c+\u00e9") == content
        heads = [each.head_object(Bucket=bucket, Key="a/b c+\u00e9") for each in site.all]
        assert {(head["ETag"], head["ContentLength"]) for head in heads} == {(put["ETag"], len(content))}
        assert len({head["LastModified"] for head in heads}) == 1
    site.s3.delete_object(Bucket=bucket, Key="a/b c+\u00e9")
    for each in site.all:
        assert error_of(each.get_object, Bucket=bucket, Key="a/b c+\u00e9") == ("NoSuchKey", 404)
    site.s3.delete_object(Bucket=bucket, Key="a/b c+\u00e9")  # as if it were there
    assert keys(site, bucket) == []


def test_what_it_was_put_with_comes_back(site: Site, bucket: str) -> None:
    given = {"ContentType": "text/plain", "CacheControl": "no-store", "ContentEncoding": "gzip"}
    site.s3.put_object(Bucket=bucket, Key="x", Body=b"x", Metadata={"version": "1.2"}, **given)
    for each in site.all:
        found = each.get_object(Bucket=bucket, Key="x", ResponseContentType="text/html")
        assert (found["Metadata"], found["ContentEncoding"]) == ({"version": "1.2"}, "gzip")
        assert (found["CacheControl"], found["ContentType"]) == ("no-store", "text/html")
    assert (
        error_of(site.s3.put_object, Bucket=bucket, Key="x", Body=b"", Metadata={"x": "x" * 2100})[0]
        == "MetadataTooLarge"
    )


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_in_headers_and_in_trailers(site: Site, bucket: str, algorithm: str) -> None:
    for client in (site.s3, over_tls(site)):
        put = client.put_object(Bucket=bucket, Key="x", Body=LARGE[:200_000], ChecksumAlgorithm=algorithm)
        assert len(base64.b64decode(put[f"Checksum{algorithm}"])) in (4, 20, 32)
        assert read(site, bucket, "x") == LARGE[:200_000]
    site.s3.put_object(Bucket=bucket, Key="x", Body=b"123456789", ChecksumCRC64NVME="rosUhgp5mIg=")
    site.s3.put_object(Bucket=bucket, Key="x", Body=b"123456789", ChecksumCRC32C="4waSgw==")
    wrong = {"Bucket": bucket, "Key": "x", "Body": b"12345678", "ChecksumCRC64NVME": "rosUhgp5mIg="}
    assert error_of(site.s3.put_object, **wrong) == ("BadDigest", 400)
    assert read(site, bucket, "x") == b"123456789"


def test_a_body_that_is_not_signed(site: Site, bucket: str) -> None:
    client = over_tls(site, request_checksum_calculation="when_required")
    client.put_object(Bucket=bucket, Key="x", Body=LARGE[:100_000])
    assert read(site, bucket, "x") == LARGE[:100_000]


def test_a_put_on_a_condition(site: Site, bucket: str) -> None:
    put = site.s3.put_object(Bucket=bucket, Key="x", Body=b"1", IfNoneMatch="*")
    assert error_of(site.s3.put_object, Bucket=bucket, Key="x", Body=b"2", IfNoneMatch="*") == (
        "PreconditionFailed",
        412,
    )
    assert error_of(site.s3.put_object, Bucket=bucket, Key="x", Body=b"2", IfMatch='"0"') == ("PreconditionFailed", 412)
    assert error_of(site.s3.put_object, Bucket=bucket, Key="y", Body=b"2", IfMatch='"0"') == ("NoSuchKey", 404)
    site.s3.put_object(Bucket=bucket, Key="x", Body=b"2", IfMatch=put["ETag"])
    assert read(site, bucket, "x") == b"2"


def test_of_many_that_put_a_new_object_one_succeeds(site: Site, bucket: str) -> None:
    def put(number: int) -> str:
        try:
            site.s3.put_object(Bucket=bucket, Key="x", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return str(number)

    with ThreadPoolExecutor(4) as threads:
        found = sorted(threads.map(put, range(6)))
    assert found[1:] == ["PreconditionFailed"] * 5
    assert read(site, bucket, "x").decode() == found[0]


def test_errors(site: Site, bucket: str) -> None:
    s3 = site.s3
    assert error_of(s3.put_object, Bucket="none-of-these", Key="x", Body=b"") == ("NoSuchBucket", 404)
    for key in ("../x", "a//b", "x/", "x" * 300):
        assert error_of(s3.put_object, Bucket=bucket, Key=key, Body=b"")[1] == 400
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    s3.put_object(Bucket=bucket, Key="b/c", Body=b"")
    assert error_of(s3.put_object, Bucket=bucket, Key="a/b", Body=b"") == ("InvalidRequest", 400)
    assert error_of(s3.put_object, Bucket=bucket, Key="b", Body=b"") == ("InvalidRequest", 400)
    assert keys(site, bucket) == ["a", "b/c"]


# Buckets and listings


def test_buckets(site: Site, bucket: str) -> None:
    assert bucket in [each["Name"] for each in site.s3.list_buckets()["Buckets"]]
    for each in site.all:
        each.head_bucket(Bucket=bucket)
        assert each.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    made = {"Bucket": bucket, "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    assert error_of(site.s3.create_bucket, **made) == ("BucketAlreadyOwnedByYou", 409)
    for name in ("metrics", "healthz"):
        assert error_of(site.s3.create_bucket, **made | {"Bucket": name}) == ("InvalidBucketName", 400)
    site.s3.put_object(Bucket=bucket, Key="x", Body=b"")
    assert error_of(site.s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    site.s3.delete_object(Bucket=bucket, Key="x")
    site.s3.delete_bucket(Bucket=bucket)
    for each in site.all:
        assert error_of(each.head_bucket, Bucket=bucket) == ("404", 404)
    assert error_of(site.s3.list_objects_v2, Bucket=bucket) == ("NoSuchBucket", 404)


def test_a_bucket_is_listed_in_pages(site: Site, bucket: str) -> None:
    names = ["a", "b/1", "b/2", "b-1", "b/x/3", "c d+\u00e9&<", "z"]
    for name in names:
        site.s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    etags = [f'"{hashlib.md5(name.encode()).hexdigest()}"' for name in sorted(names)]
    for each in site.all:
        paginator = each.get_paginator("list_objects_v2")
        pages = list(paginator.paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}))
        found = [each for page in pages for each in page["Contents"]]
        assert [each["Key"] for each in found] == sorted(names)
        assert [each["ETag"] for each in found] == etags
        assert len(pages) == 4
        folders = list(paginator.paginate(Bucket=bucket, Delimiter="/", Prefix="b", PaginationConfig={"PageSize": 1}))
        assert [each["Key"] for page in folders for each in page.get("Contents", [])] == ["b-1"]
        assert [each["Prefix"] for page in folders for each in page.get("CommonPrefixes", [])] == ["b/"]
    assert [each["Key"] for each in site.s3.list_objects_v2(Bucket=bucket, StartAfter="b/2")["Contents"]] == sorted(
        names
    )[4:]
    old = site.s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
    assert [each["Key"] for page in old for each in page["Contents"]] == sorted(names)
    wanted = [{"Key": name} for name in [*names, "none"]]
    deleted = site.s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})["Deleted"]
    assert (sorted(each["Key"] for each in deleted), keys(site, bucket)) == (sorted([*names, "none"]), [])


# Objects in parts


def test_an_upload_in_parts(site: Site, bucket: str) -> None:
    """Each call by another manager; the parts in any order, one of them twice."""
    where: dict[str, Any] = {"Bucket": bucket, "Key": "large"}
    where["UploadId"] = site.s3.create_multipart_upload(**where, ContentType="a/b", Metadata={"m": "1"})["UploadId"]
    etags = {}
    site.s3.upload_part(**where, PartNumber=1, Body=b"not this")
    for number in (3, 1, 2):
        put = site.s3.upload_part(**where, PartNumber=number, Body=PARTS[number - 1])
        etags[number] = put["ETag"]
        assert put["ETag"] == f'"{hashlib.md5(PARTS[number - 1]).hexdigest()}"'
    listed = list(site.s3.get_paginator("list_parts").paginate(**where, PaginationConfig={"PageSize": 2}))
    found = [(each["PartNumber"], each["ETag"], each["Size"]) for page in listed for each in page["Parts"]]
    assert found == [(number, etags[number], len(PARTS[number - 1])) for number in (1, 2, 3)]
    uploads = site.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(each["Key"], each["UploadId"]) for each in uploads] == [("large", where["UploadId"])]
    assert keys(site, bucket) == []
    parts = [{"PartNumber": number, "ETag": etags[number]} for number in (1, 2, 3)]
    wrong: list[tuple[list[dict[str, Any]], str]] = [
        (parts[::-1], "InvalidPartOrder"),
        ([*parts, {"PartNumber": 4, "ETag": etags[1]}], "InvalidPart"),
        ([parts[0] | {"ETag": etags[2]}], "InvalidPart"),
        ([], "MalformedXML"),
    ]
    for given, code in wrong:
        assert error_of(site.s3.complete_multipart_upload, **where, MultipartUpload={"Parts": given}) == (code, 400)
    done = site.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert done["ETag"] == ETAG
    assert read(site, bucket, "large") == LARGE
    assert read(site, bucket, "large", PartNumber=2) == PARTS[1]
    for each in site.all:
        head = each.head_object(Bucket=bucket, Key="large", PartNumber=3)
        assert (head["ETag"], head["PartsCount"], head["ContentType"]) == (ETAG, 3, "a/b")
    assert site.s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == ETAG
    assert error_of(site.s3.upload_part, **where, PartNumber=1, Body=b"x") == ("NoSuchUpload", 404)
    assert "Uploads" not in site.s3.list_multipart_uploads(Bucket=bucket)


def test_an_upload_that_is_aborted(site: Site, bucket: str) -> None:
    where: dict[str, Any] = {"Bucket": bucket, "Key": "large"}
    where["UploadId"] = site.s3.create_multipart_upload(**where)["UploadId"]
    site.s3.upload_part(**where, PartNumber=1, Body=b"small")
    etag = site.s3.upload_part(**where, PartNumber=2, Body=b"small")["ETag"]
    parts = [{"PartNumber": number, "ETag": etag} for number in (1, 2)]
    assert error_of(site.s3.complete_multipart_upload, **where, MultipartUpload={"Parts": parts})[0] == "EntityTooSmall"
    assert error_of(site.s3.upload_part, **where, PartNumber=10_001, Body=b"") == ("InvalidArgument", 400)
    assert error_of(site.s3.upload_part, **where | {"Key": "other"}, PartNumber=1, Body=b"") == ("NoSuchUpload", 404)
    site.s3.abort_multipart_upload(**where)
    assert error_of(site.s3.list_parts, **where) == ("NoSuchUpload", 404)
    assert keys(site, bucket) == []


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA256", "COMPOSITE")]
)
def test_checksums_of_an_upload_in_parts(site: Site, bucket: str, algorithm: str, kind: str) -> None:
    where: dict[str, Any] = {"Bucket": bucket, "Key": "large"}
    begun = site.s3.create_multipart_upload(**where, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    where["UploadId"] = begun["UploadId"]
    member, parts = f"Checksum{algorithm}", []
    for number in (1, 2):
        put = site.s3.upload_part(**where, PartNumber=number, Body=PARTS[number - 1], ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": put["ETag"], member: put[member]})
    if kind == "FULL_OBJECT":
        wrong = {member: base64.b64encode(b"wrng").decode(), "ChecksumType": kind}
        asked = {**where, **wrong, "MultipartUpload": {"Parts": parts}}
        assert error_of(site.s3.complete_multipart_upload, **asked) == ("BadDigest", 400)
    done = site.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert done["ChecksumType"] == kind
    assert done[member].endswith("-2") == (kind == "COMPOSITE")
    assert read(site, bucket, "large") == LARGE[: 2 * PART]


def test_copies(site: Site, bucket: str) -> None:
    site.s3.put_object(Bucket=bucket, Key="from", Body=LARGE, ContentType="a/b", Metadata={"m": "1"})
    source = {"Bucket": bucket, "Key": "from"}
    etag = f'"{hashlib.md5(LARGE).hexdigest()}"'
    assert site.s3.copy_object(Bucket=bucket, Key="to", CopySource=source)["CopyObjectResult"]["ETag"] == etag
    head = site.s3.head_object(Bucket=bucket, Key="to")
    assert (head["ContentType"], head["Metadata"]) == ("a/b", {"m": "1"})
    with pytest.raises(ClientError, match="PreconditionFailed"):
        site.s3.copy_object(Bucket=bucket, Key="to", CopySource=source, CopySourceIfNoneMatch=etag)
    with pytest.raises(ClientError, match="itself"):
        site.s3.copy_object(Bucket=bucket, Key="from", CopySource=source)
    assert error_of(site.s3.copy_object, Bucket=bucket, Key="to", CopySource=f"{bucket}/none") == ("NoSuchKey", 404)
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
    site.s3.copy(source, bucket, "in parts", Config=config)
    assert read(site, bucket, "in parts") == read(site, bucket, "to") == LARGE


# Whole clients


def test_boto3_uploads_by_its_transfer_manager(site: Site, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
    for client in (site.s3, over_tls(site)):
        client.upload_file(str(tmp_path / "large"), bucket, "large", Config=config)
        assert site.s3.head_object(Bucket=bucket, Key="large")["ETag"] == ETAG
        site.s3.download_file(bucket, "large", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == LARGE


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_awscli(site: Site, bucket: str, tmp_path: Path) -> None:
    large = LARGE + LARGE  # above its threshold of 8 MiB
    folder, url = tmp_path / "folder", f"s3://{bucket}"
    (folder / "sub").mkdir(parents=True)
    (folder / "large").write_bytes(large)
    (folder / "sub" / "small.txt").write_bytes(b"small")
    site.aws("cp", str(folder / "large"), f"{url}/one/large")
    site.aws("cp", f"{url}/one/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large
    assert "PRE one/" in site.aws("ls", url)
    assert f"{len(large)} large" in site.aws("ls", f"{url}/one/")
    site.aws("mv", f"{url}/one/large", f"{url}/two/large")
    site.aws("sync", str(folder), f"{url}/three")
    site.aws("sync", f"{url}/three", str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "large").read_bytes() == large
    assert (tmp_path / "copy" / "sub" / "small.txt").read_bytes() == b"small"
    assert keys(site, bucket) == ["three/large", "three/sub/small.txt", "two/large"]
    site.aws("rm", f"{url}/three", "--recursive")
    site.aws("rb", url, "--force")
    assert bucket not in site.aws("ls")


def test_the_gateway_reads_what_was_put(site: Site, bucket: str, aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    site.s3.put_object(Bucket=bucket, Key="small", Body=b"small")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", site.manager().url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    source = CredentialSource("eu-central-1", DEADLINE_S, DEADLINE_S)
    client = make_s3_client(make_session(source), "eu-central-1", DEADLINE_S, DEADLINE_S)
    with s3_call(client.get_object, f"s3://{bucket}/small")["Body"] as body:
        assert body.read() == b"small"
    client.close()
    source.close()


# What deployments name


def test_what_a_deployment_names_stays(site: Site, tmp_path: Path) -> None:
    manager = site.managers[0]
    manager.run("register", "f", "d")
    (tmp_path / "model").write_bytes(b"model")
    manager.run("deploy", "f", "d", f"kws={tmp_path / 'model'}")
    plan = manager.client("sagemaker-edge").get_deployments(**WHO)["Deployments"][-1]["Definitions"][0]
    url = urlsplit(plan["S3Url"])
    where = {"Bucket": url.netloc, "Key": url.path.removeprefix("/")}
    site.s3.put_object(Bucket=url.netloc, Key="other", Body=b"")
    assert error_of(site.s3.delete_object, **where) == ("AccessDenied", 403)
    assert error_of(site.s3.put_object, **where, Body=b"another") == ("AccessDenied", 403)
    site.s3.put_object(**where, Body=b"model")
    wanted = [{"Key": where["Key"]}, {"Key": "other"}]
    answer = site.s3.delete_objects(Bucket=url.netloc, Delete={"Objects": wanted})
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [(where["Key"], "AccessDenied")]
    assert [each["Key"] for each in answer["Deleted"]] == ["other"]
    assert read(site, url.netloc, where["Key"]) == b"model"
    manager.run("deregister", "f", "d")

    def deleted() -> bool:
        """Once the rollout, which has no device any more, is over."""
        try:
            site.s3.delete_object(**where)
        except ClientError:
            return False
        return True

    until(deleted, lambda: "it is not deleted")
    assert keys(site, url.netloc) == []


# kill -9


def test_kill_9_in_an_upload_leaves_no_half_object(site: Site, bucket: str) -> None:
    manager, old = site.managers[0], b"old"
    s3 = site.client(manager)
    s3.put_object(Bucket=bucket, Key="x", Body=old)
    where: dict[str, Any] = {"Bucket": bucket, "Key": "large"}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    etag = s3.upload_part(**where, PartNumber=1, Body=b"part")["ETag"]
    incoming = manager.data / "objects" / ".incoming"

    def received() -> bool:
        return sum(each.stat().st_size for each in incoming.iterdir()) > 1_000_000

    with half_put(manager, bucket, "x") as connection:
        until(received, lambda: "nothing of the body is on the disk")
        manager.end(signal.SIGKILL)
        connection.close()
    assert list(incoming.iterdir())
    manager.start()
    until(lambda: not list(incoming.iterdir()), lambda: "what the killed process left is there")
    assert read(site, bucket, "x") == old
    parts = [{"PartNumber": 1, "ETag": etag}]
    site.client(manager).complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert read(site, bucket, "large") == b"part"


def half_put(manager: Manager, bucket: str, key: str) -> socket.socket:
    """A connection over which a client sends the half of an object, and waits."""
    sent: list[tuple[bytes, AWSPreparedRequest]] = []
    client = manager.client("s3")

    class Stopped(Exception):
        pass

    def stop(request: AWSPreparedRequest, **rest: object) -> None:
        lines = [
            f"{name}: {value if isinstance(value, str) else value.decode()}" for name, value in request.headers.items()
        ]
        target = urlsplit(str(request.url))
        head = [f"PUT {target.path} HTTP/1.1", f"Host: {target.netloc}", *lines, "", ""]
        sent.append(("\r\n".join(head).encode(), request))
        raise Stopped

    client.meta.events.register("before-send.s3.PutObject", stop)
    with pytest.raises(Stopped):
        client.put_object(Bucket=bucket, Key=key, Body=LARGE)
    address = urlsplit(manager.url)
    assert address.port is not None
    connection = socket.create_connection((address.hostname, address.port), DEADLINE_S)
    connection.sendall(sent[0][0].replace(b"Expect: 100-continue\r\n", b"") + LARGE[: len(LARGE) // 2])
    return connection
