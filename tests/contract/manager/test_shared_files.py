"""Managers on one PostgreSQL, each with a folder of its own: every one of them serves every model file."""

import hashlib
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from botocore.exceptions import ClientError

from tests.support.manager_process import Manager
from tests.support.polling import until
from tests.support.postgres import Postgres

SIZE = 3_000_000
WHO = {"DeviceFleetName": "f", "DeviceName": "d"}
PARTS = [
    ("bytes=0-99", slice(0, 100)),
    ("bytes=300000-1900000", slice(300_000, 1_900_001)),
    ("bytes=-7", slice(-7, None)),
]

Deploy = Callable[[bytes], dict[str, str]]
"""Deploys that content; Bucket and Key as the plan gives them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One that a test may stop, and starts again."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(scope="module")
def managers(make_manager: Callable[..., Manager], server: Postgres) -> list[Manager]:
    made = [make_manager("--database", server.url()) for _ in range(2)]
    made[0].run("register", "f", "d", "--database", server.url())
    return made


@pytest.fixture
def deploy(tmp_path: Path, server: Postgres, managers: list[Manager]) -> Deploy:
    """By a command on a machine that serves nothing. Each test deploys contents of its own."""
    commands, where = Manager(tmp_path / "no folder"), ["--database", server.url()]

    def run(content: bytes) -> dict[str, str]:
        (tmp_path / "model.tflite").write_bytes(content)
        commands.run("deploy", "f", "d", f"kws={tmp_path / 'model.tflite'}", *where)
        assert not commands.data.exists()
        plan = managers[0].client("sagemaker-edge").get_deployments(**WHO)["Deployments"][-1]["Definitions"][0]
        assert plan["Checksum"] == {"Type": "SHA1", "Sum": hashlib.sha1(content).hexdigest()}
        url = urlsplit(plan["S3Url"])
        return {"Bucket": url.netloc, "Key": url.path.removeprefix("/")}

    return run


def model(name: str) -> bytes:
    return hashlib.shake_128(name.encode()).digest(SIZE)


def get(manager: Manager, where: dict[str, str], **options: str) -> bytes:
    body: bytes = manager.client("s3").get_object(**where, **options)["Body"].read()
    return body


def response_of(call: Callable[..., Any], where: dict[str, str]) -> tuple[str, dict[str, Any]]:
    with pytest.raises(ClientError) as caught:
        call(**where)
    return caught.value.response["Error"]["Code"], dict(caught.value.response["ResponseMetadata"])


def test_each_serves_what_was_deployed_elsewhere(managers: list[Manager], deploy: Deploy) -> None:
    content = model("a file for all")
    where, heads = deploy(content), []
    for each in managers:
        with ThreadPoolExecutor(len(PARTS)) as threads:  # nothing is in its folder yet
            found = list(threads.map(lambda part, each=each: get(each, where, Range=part[0]), PARTS))
        assert found == [content[part] for _, part in PARTS]
        assert get(each, where) == content
        assert (each.data / "objects" / where["Bucket"] / where["Key"]).read_bytes() == content
        head = each.client("s3").head_object(**where)
        heads.append((head["ETag"], head["LastModified"], head["ContentLength"]))
    assert heads[0] == heads[1]


def test_a_head_alone_is_answered(managers: list[Manager], deploy: Deploy) -> None:
    head = managers[1].client("s3").head_object(**deploy(b"small"))
    assert (head["ContentLength"], head["ETag"]) == (5, f'"{hashlib.md5(b"small").hexdigest()}"')


def test_what_is_in_no_folder_and_not_in_the_database_is_a_404(managers: list[Manager], deploy: Deploy) -> None:
    where = deploy(b"tiny")
    get(managers[0], where)
    code, found = response_of(managers[0].client("s3").get_object, where | {"Key": "kws/none"})
    assert (code, found["HTTPStatusCode"]) == ("NoSuchKey", 404)
    code, found = response_of(managers[0].client("s3").get_object, where | {"Bucket": "none"})
    assert (code, found["HTTPStatusCode"]) == ("NoSuchBucket", 404)


def test_a_file_that_is_put_into_one_folder_by_hand_is_that_ones(managers: list[Manager]) -> None:
    path = managers[0].data / "objects" / "models" / "by-hand"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"by hand")
    where = {"Bucket": "models", "Key": "by-hand"}
    assert get(managers[0], where) == b"by hand"
    assert response_of(managers[1].client("s3").get_object, where)[1]["HTTPStatusCode"] == 404


def test_kill_9_in_a_fetch_leaves_no_half_file(managers: list[Manager], deploy: Deploy, server: Postgres) -> None:
    """The next one fetches the whole file, and removes what the first one left."""
    content, manager = model("half a file"), managers[0]
    where = deploy(content)
    incoming = manager.data / "objects" / ".incoming"

    def files() -> list[Path]:
        return list(incoming.glob("*"))

    with psycopg.connect(server.url()) as other, ThreadPoolExecutor(1) as threads:
        other.execute("LOCK TABLE object_pieces IN ACCESS EXCLUSIVE MODE")
        asked = threads.submit(get, manager, where)
        until(lambda: len(files()) == 1, lambda: "nothing is fetched")
        manager.end(signal.SIGKILL)
        assert asked.exception() is not None
    assert len(files()) == 1
    manager.start()
    assert get(manager, where) == content
    assert files() == []


def test_while_the_database_is_away(managers: list[Manager], deploy: Deploy, server: Postgres) -> None:
    content = model("a file that is there")
    fetched, other = deploy(content), deploy(b"other")
    assert get(managers[1], fetched) == content
    server.kill()
    assert get(managers[1], fetched) == content
    for client in (managers[1].client("s3"), managers[0].client("s3")):
        code, found = response_of(client.get_object, other)
        assert (code, found["HTTPStatusCode"], found["HTTPHeaders"]["retry-after"]) == ("ServiceUnavailable", 503, "1")
    assert get(managers[1], fetched, Range="bytes=-5") == content[-5:]
    server.start()
    assert [get(each, other) for each in managers] == [b"other"] * 2
