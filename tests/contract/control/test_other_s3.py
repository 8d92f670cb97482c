"""Packaging jobs take model files from another S3: moto's server, and a manager that is another process."""

import hashlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.manager import ManagerError, Place
from gateway.manager.control import JobRunner, OtherS3, other_s3
from gateway.manager.control import jobs as running_jobs
from gateway.manager.http import ServerConfig
from gateway.manager.store import CHUNK, Store
from tests.contract.control.running_jobs import LATER, NOW, Jobs
from tests.support.jobs import compilation, ended_compilation, ended_packaging, packaging
from tests.support.manager_process import ACCESS, SECRET, Manager
from tests.support.s3 import S3Proxy, S3Server
from tests.support.served_manager import ServedManager

LARGE = hashlib.shake_128(b"large").digest(5 * CHUNK + 7)
URL = "s3://training/kws.tflite"


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with S3Server() as server:
        server.make("training")
        yield server


@pytest.fixture
def proxy(aws: None, moto: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(moto.host, moto.port) as made:
        yield made


@pytest.fixture
def another(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A manager of its own, whose keys are those that AWS's SDKs find here."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    made = Manager(tmp_path / "another" / "data", ["--access-key", ACCESS, "--secret-key-file", str(secret)])
    made.data.parent.mkdir()
    made.start()
    made.client("s3").create_bucket(Bucket="training", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield made
    made.end(signal.SIGTERM)


Put = Callable[[str, bytes], object]


@pytest.fixture(params=["moto", "manager"])
def source(aws: None, request: pytest.FixtureRequest) -> tuple[str, Put]:
    """The URL of an S3 that has the bucket `training`, and what puts an object there."""
    if request.param == "moto":
        server: S3Server = request.getfixturevalue("moto")
        return f"http://{server.host}:{server.port}", lambda key, content: server.put("training", key, content)
    manager: Manager = request.getfixturevalue("another")
    s3 = manager.client("s3")
    return manager.url, lambda key, content: s3.put_object(Bucket="training", Key=key, Body=content)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_file_of_another_s3_becomes_a_package_of_this_one(place: Place, source: tuple[str, Put]) -> None:
    endpoint, put = source
    put("kws.tflite", LARGE)
    put("empty", b"")
    with ServedManager(place, s3_endpoint=endpoint) as served:
        s3, sagemaker = served.client("s3"), served.client("sagemaker")
        s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        made = {"kws": URL, "empty": "s3://training/empty", "none": "s3://training/none", "no": "s3://no-bucket/m"}
        for name, url in made.items():
            sagemaker.create_compilation_job(**compilation(name, url))
            sagemaker.create_edge_packaging_job(**packaging(name, name))
        assert ended_compilation(sagemaker, "kws")["ModelArtifacts"] == {"S3ModelArtifacts": URL}
        package = ended_packaging(sagemaker, "kws")
        assert package["ModelArtifact"] == "s3://models/out/kws/wake-word-1.2.tflite"
        assert hashlib.sha1(LARGE).hexdigest() in package["EdgePackagingJobStatusMessage"]
        copy = s3.get_object(Bucket="models", Key="out/kws/wake-word-1.2.tflite")
        assert copy["Body"].read() == LARGE
        why = {
            name: ended_packaging(sagemaker, name)["EdgePackagingJobStatusMessage"] for name in ("empty", "none", "no")
        }
        assert why["empty"] == "s3://training/empty is empty: a model file is expected"
        assert "s3://training/none cannot be read: NoSuchKey: " in why["none"]
        assert "s3://no-bucket/m cannot be read: NoSuchBucket: " in why["no"]


class OtherJobs(Jobs):
    """Jobs that may take files of the S3 behind a proxy."""

    def __init__(self, place: Place, store: Store, url: str, most: int = 10**9) -> None:
        self.other = OtherS3(url, most)
        super().__init__(place, store)

    def another(self) -> JobRunner:
        return JobRunner(self._store, self.objects, self.other)

    def until_ended(self, now: float = NOW) -> str:
        while self.runner.step(now):
            pass
        return self.status()


@pytest.fixture
def jobs(place: Place, store: Store, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> OtherJobs:
    monkeypatch.setattr(running_jobs, "CHUNKS", 1)
    return OtherJobs(place, store, proxy.url)


def test_a_large_file_is_read_in_ranges(
    jobs: OtherJobs, moto: S3Server, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each engine, step by step."""
    monkeypatch.setattr(other_s3, "RANGE", 2 * CHUNK)
    moto.put("training", "kws.tflite", LARGE)
    jobs.start(URL)
    assert (jobs.until_ended(), jobs.artifact(), jobs.left_overs()) == ("COMPLETED", LARGE, [])
    assert proxy.gets == 5  # one for each job, and three ranges


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
class TestAnotherS3:
    """What does not depend on the engine."""

    def test_that_goes_away_for_a_while_is_waited_for(
        self, jobs: OtherJobs, moto: S3Server, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(other_s3, "RANGE", 2 * CHUNK)
        moto.put("training", "kws.tflite", LARGE)
        jobs.start(URL)
        for _ in range(3):
            assert jobs.runner.step(NOW)
        proxy.stop_listening()
        while jobs.runner.step(NOW):
            pass
        assert not jobs.runner.step(NOW + running_jobs.PATIENCE - 1)
        assert (jobs.status(), jobs.artifact()) == ("INPROGRESS", None)
        proxy.listen()
        assert (jobs.until_ended(NOW + running_jobs.PATIENCE + 1), jobs.artifact()) == ("COMPLETED", LARGE)

    def test_that_stays_away_fails_the_job(
        self, jobs: OtherJobs, moto: S3Server, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(other_s3, "RANGE", 2 * CHUNK)
        moto.put("training", "kws.tflite", LARGE)
        jobs.start(URL)
        for _ in range(3):
            assert jobs.runner.step(NOW)
        proxy.stop_listening()
        while jobs.runner.step(NOW):
            pass
        assert jobs.until_ended(NOW + running_jobs.PATIENCE) == "FAILED"
        assert f"{URL} cannot be read, also not after 30 s: " in jobs.message()
        assert (jobs.artifact(), jobs.left_overs()) == (None, [])
        proxy.listen()

    def test_that_refuses_fails_the_job_with_its_reason(self, jobs: OtherJobs, moto: S3Server) -> None:
        moto.put("training", "kws.tflite", LARGE)
        jobs.start(URL)
        moto.forbid("training")
        try:
            assert jobs.until_ended() == "FAILED"
        finally:
            moto.allow("training")
        assert f"{URL} cannot be read: 403: Forbidden" in jobs.message()

    def test_whose_file_is_replaced_meanwhile_is_read_anew(
        self, jobs: OtherJobs, moto: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(other_s3, "RANGE", CHUNK)
        moto.put("training", "kws.tflite", LARGE)
        jobs.start(URL)
        for _ in range(3):
            assert jobs.runner.step(NOW)
        moto.put("training", "kws.tflite", LARGE[::-1])
        assert (jobs.until_ended(), jobs.artifact()) == ("COMPLETED", LARGE[::-1])

    def test_is_read_by_the_process_that_follows(self, jobs: OtherJobs, moto: S3Server) -> None:
        moto.put("training", "kws.tflite", LARGE)
        jobs.start(URL)
        for _ in range(3):
            assert jobs.runner.step(NOW)
        jobs.runner.close()
        follower = jobs.another()
        while follower.step(LATER):
            pass
        assert (jobs.status(), jobs.artifact()) == ("COMPLETED", LARGE)

    def test_never_gets_a_package(self, jobs: OtherJobs, moto: S3Server) -> None:
        moto.put("training", "kws.tflite", LARGE)
        jobs.start(URL, OutputConfig={"S3OutputLocation": "s3://training/out"})
        assert jobs.until_ended() == "FAILED"
        assert "this manager's model store has no bucket training" in jobs.message()

    def test_has_no_file_that_is_too_large(self, jobs: OtherJobs, moto: S3Server, proxy: S3Proxy) -> None:
        moto.put("training", "kws.tflite", LARGE)
        jobs.other = OtherS3(proxy.url, len(LARGE))
        jobs.runner = jobs.another()
        jobs.start(URL)
        jobs.other = OtherS3(proxy.url, len(LARGE) - 1)
        jobs.runner.close()
        jobs.runner = jobs.another()
        assert jobs.until_ended(LATER) == "FAILED"
        assert jobs.message() == f"{URL} cannot be read: it has {len(LARGE):,} bytes, more than --max-object-size"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:9470", "is this manager itself"),
        ("http://localhost:9470/", "is this manager itself"),
        ("s3.amazonaws.com", "is not a URL"),
        ("ftp://host", "is not a URL"),
        ("http://host:x", "is not a URL"),
        ("http://host/bucket", "should be http://HOST:PORT"),
    ],
)
def test_an_endpoint_that_cannot_be_one_is_refused(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(ManagerError, match=why):
        ServerConfig(Place(tmp_path), port=9470, s3_endpoint=url)
    ServerConfig(Place(tmp_path), port=9470, s3_endpoint="https://s3.eu-west-1.amazonaws.com")
