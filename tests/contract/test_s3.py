"""S3's client over real sockets: a request gets its own final response, signed with the credentials of the files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.cloud import CredentialSource, make_session
from gateway.errors import CloudError, OperatorError, TransientError
from gateway.files import make_s3_client, s3_call
from tests.support.arrivals import DEADLINE_S
from tests.support.edge_manager import FakeEdgeManager, Reply, Request
from tests.support.loop_thread import LoopThread

BINARY = "application/octet-stream"
SHARED_FILE = "[default]\naws_access_key_id = {}\naws_secret_access_key = secret\n"
ERRORS = {
    404: b"<Error><Code>NoSuchKey</Code><Message>why</Message></Error>",
    503: b"<Error><Code>SlowDown</Code><Message>why</Message></Error>",
}


class Store(LoopThread):
    """Each object holds its own key. `interim`, `status`: of each response. `surplus` follows it, whatever its length
    says. `good_key` alone may sign."""

    def __init__(self) -> None:
        super().__init__("store")
        self.service = FakeEdgeManager()
        self.service.rule = self._reply
        self.interim: tuple[int, ...] = ()
        self.status = 200
        self.good_key = "key"
        self.surplus = b""

    async def opened(self) -> None:
        await self.service.open()

    async def closed(self) -> None:
        await self.service.close()

    def _reply(self, request: Request) -> Reply:
        if f"Credential={self.good_key}/" not in (request.header("Authorization") or ""):
            return Reply(403, body="<Error><Code>InvalidAccessKeyId</Code></Error>", kind="application/xml")
        body = ERRORS.get(self.status, b"") or content(request.operation)
        length = {"Content-Length": str(len(body))}
        return Reply(self.status, body=body + self.surplus, kind=BINARY, interim=self.interim, headers=length)


def content(key: str) -> bytes:
    return key.encode() * 1000


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as made:
        yield made


@pytest.fixture
def s3(aws: None, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.service.url)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "credentials").write_text(SHARED_FILE.format("key"))
    source = CredentialSource("eu-central-1", DEADLINE_S, DEADLINE_S)
    made = make_s3_client(make_session(source), "eu-central-1", DEADLINE_S, DEADLINE_S)
    yield made
    made.close()
    source.close()


def get(s3: Any, key: str) -> bytes:
    response = s3_call(s3.get_object, f"s3://models/{key}")
    with response["Body"] as body:
        return bytes(body.read())


@pytest.mark.parametrize("interim", [(100,), (103,), (102, 103, 103)])
@pytest.mark.parametrize(
    ("status", "kind", "reason"), [(404, OperatorError, "NoSuchKey"), (503, TransientError, "SlowDown")]
)
def test_an_interim_response_is_not_the_object(
    store: Store, s3: Any, interim: tuple[int, ...], status: int, kind: type[CloudError], reason: str
) -> None:
    store.interim, store.status = interim, status
    with pytest.raises(CloudError) as caught:
        get(s3, "one")
    assert (type(caught.value), caught.value.reason) == (kind, reason)
    store.status = 200
    assert get(s3, "two") == content("two")


def test_what_follows_a_response_reaches_no_other_request(store: Store, s3: Any) -> None:
    store.surplus = Reply(body=content("other"), kind=BINARY).encoded(b"")
    for key in ("one", "two", "three"):
        assert get(s3, key) == content(key)


def test_each_object_is_that_of_its_own_request(store: Store, s3: Any) -> None:
    """Over connections of a pool that are used again, with interim responses before every object."""
    keys = [f"key-{number}" for number in range(40)]
    store.interim = (103, 100)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda key: get(s3, key), keys))
    assert found == [content(key) for key in keys]


def test_keys_rotated_in_the_file_are_used_without_a_restart(store: Store, s3: Any, tmp_path: Path) -> None:
    assert get(s3, "one") == content("one")
    (tmp_path / "credentials").write_text(SHARED_FILE.format("new"))
    store.good_key = "new"
    found = b""
    while not found:  # a search a second at most
        with suppress(OperatorError):
            found = get(s3, "one")
    assert found == content("one")
