"""Model files: stored whole, opened, and no path leads out of the directory."""

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.manager.errors import ManagerError, S3Error
from gateway.manager.store import ObjectStore


@pytest.fixture
def objects(tmp_path):
    (tmp_path / "secret").write_bytes(b"outside")
    return ObjectStore(tmp_path)


def put(objects: ObjectStore, content: bytes, name: str = "model.tflite"):
    source = objects.root.parent / name
    source.write_bytes(content)
    return objects.put_file(source, "models", "kws")


def key_of(url: str) -> str:
    return url.removeprefix("s3://models/")


def test_a_stored_file_is_found_with_its_checksums(objects):
    stored = put(objects, b"model")
    sha1 = hashlib.sha1(b"model").hexdigest()
    assert (stored.size, stored.sha1, stored.url) == (5, sha1, f"s3://models/kws/{sha1[:16]}.tflite")
    opened = objects.open("models", key_of(stored.url))
    assert (opened.size, opened.etag) == (5, f'"{hashlib.md5(b"model").hexdigest()}"')
    assert (opened.read(0, 5), opened.read(1, 3)) == (b"model", b"od")
    opened.close()


def test_another_content_has_another_url(objects):
    one, two = put(objects, b"one"), put(objects, b"two")
    assert one.url != two.url
    opened = objects.open("models", key_of(one.url))
    assert opened.read(0, 3) == b"one"
    opened.close()


def test_an_odd_suffix_is_left_out(objects):
    assert put(objects, b"x", "model.t fl%te").url.endswith(hashlib.sha1(b"x").hexdigest()[:16])


def test_no_temporary_file_is_left(objects):
    put(objects, b"model")
    with pytest.raises(ManagerError, match="empty"):
        put(objects, b"")
    assert list((objects.root / ".incoming").iterdir()) == []


@pytest.mark.parametrize("bucket", ["..", ".incoming", "a/b", "AB", "ab", "a..b", "", "-abc", "a" * 64])
def test_a_bucket_has_a_name_that_s3_allows(objects, bucket):
    source = objects.root.parent / "secret"
    with pytest.raises(ManagerError, match="bucket"):
        objects.put_file(source, bucket, "kws")


def test_a_file_that_cannot_be_read_is_an_error(objects, tmp_path):
    with pytest.raises(ManagerError, match="No such file"):
        objects.put_file(tmp_path / "missing", "models", "kws")
    with pytest.raises(ManagerError, match="directory"):
        objects.put_file(tmp_path, "models", "kws")


@pytest.mark.parametrize(
    "key",
    [
        "../../secret", "kws/../../../secret", "./x", "kws//x", "kws/", "/etc/hostname", "kws", "\0", "kws/\0",
        "a" * 300, "x/" * 3000 + "y", "kws/none", "link", "folder/secret",
    ],
)  # fmt: skip
def test_no_key_leads_out_or_to_anything_but_a_file(objects, key):
    put(objects, b"model")
    os.symlink(objects.root.parent / "secret", objects.root / "models" / "link")
    os.symlink(objects.root.parent, objects.root / "models" / "folder")
    with pytest.raises(S3Error) as caught:
        objects.open("models", key)
    assert (caught.value.code, caught.value.status) == ("NoSuchKey", 404)


@pytest.mark.parametrize("bucket", ["none", "..", ".", ".incoming", "", "models/kws", "\0\0\0", "a" * 300])
def test_a_bucket_that_does_not_exist(objects, bucket):
    put(objects, b"model")
    with pytest.raises(S3Error) as caught:
        objects.open(bucket, "kws/x")
    assert caught.value.code == "NoSuchBucket"


@given(st.text(), st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_an_object_or_a_404(objects, bucket, key):
    put(objects, b"model")
    for name in (bucket, "models"):
        with pytest.raises(S3Error) as caught:
            objects.open(name, key)
        assert caught.value.status == 404


def test_a_reader_keeps_what_it_opened(objects):
    path = objects.root / "models" / "by-hand"
    put(objects, b"model")
    path.write_bytes(b"before")
    opened = objects.open("models", "by-hand")
    path.with_suffix(".new").write_bytes(b"after!")
    path.with_suffix(".new").replace(path)
    assert opened.read(0, 6) == b"before"
    opened.close()
    replaced = objects.open("models", "by-hand")
    assert (replaced.read(0, 6), replaced.etag != opened.etag) == (b"after!", True)
    replaced.close()
