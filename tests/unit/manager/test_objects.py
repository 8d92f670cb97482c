"""Model files: taken in whole, found again, and no way out of the directory."""

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.manager.errors import ManagerError, S3Error
from gateway.manager.objects.object_store import Objects


@pytest.fixture
def objects(tmp_path):
    (tmp_path / "secret").write_bytes(b"outside")
    return Objects(tmp_path / "objects")


def take_in(objects: Objects, content: bytes, name: str = "model.tflite"):
    source = objects.root.parent / name
    source.write_bytes(content)
    return objects.take_in(source, "models", "kws")


def key_of(url: str) -> str:
    return url.removeprefix("s3://models/")


def test_a_file_that_was_taken_in_is_found_with_its_sums(objects):
    stored = take_in(objects, b"model")
    sha1 = hashlib.sha1(b"model").hexdigest()
    assert (stored.size, stored.sha1, stored.url) == (5, sha1, f"s3://models/kws/{sha1[:16]}.tflite")
    found = objects.open("models", key_of(stored.url))
    assert (found.size, found.etag) == (5, f'"{hashlib.md5(b"model").hexdigest()}"')
    assert (found.read(0, 5), found.read(1, 3)) == (b"model", b"od")
    found.close()


def test_another_content_has_another_url(objects):
    one, two = take_in(objects, b"one"), take_in(objects, b"two")
    assert one.url != two.url
    found = objects.open("models", key_of(one.url))
    assert found.read(0, 3) == b"one"
    found.close()


def test_a_suffix_that_is_none_is_left_out(objects):
    assert take_in(objects, b"x", "model.t fl%te").url.endswith(hashlib.sha1(b"x").hexdigest()[:16])


def test_nothing_is_left_of_the_way_there(objects):
    take_in(objects, b"model")
    with pytest.raises(ManagerError, match="empty"):
        take_in(objects, b"")
    assert list((objects.root / ".incoming").iterdir()) == []


@pytest.mark.parametrize("bucket", ["..", ".incoming", "a/b", "AB", "ab", "a..b", "", "-abc", "a" * 64])
def test_a_bucket_has_a_name_of_s3(objects, bucket):
    source = objects.root.parent / "secret"
    with pytest.raises(ManagerError, match="bucket"):
        objects.take_in(source, bucket, "kws")


def test_a_file_that_cannot_be_read_is_told(objects, tmp_path):
    with pytest.raises(ManagerError, match="No such file"):
        objects.take_in(tmp_path / "missing", "models", "kws")
    with pytest.raises(ManagerError, match="directory"):
        objects.take_in(tmp_path, "models", "kws")


@pytest.mark.parametrize(
    "key",
    [
        "../../secret", "kws/../../../secret", "./x", "kws//x", "kws/", "/etc/hostname", "kws", "\0", "kws/\0",
        "a" * 300, "x/" * 3000 + "y", "kws/none", "link", "folder/secret",
    ],
)  # fmt: skip
def test_no_key_leads_out_or_to_anything_but_a_file(objects, key):
    take_in(objects, b"model")
    os.symlink(objects.root.parent / "secret", objects.root / "models" / "link")
    os.symlink(objects.root.parent, objects.root / "models" / "folder")
    with pytest.raises(S3Error) as caught:
        objects.open("models", key)
    assert (caught.value.code, caught.value.status) == ("NoSuchKey", 404)


@pytest.mark.parametrize("bucket", ["none", "..", ".", ".incoming", "", "models/kws", "\0\0\0", "a" * 300])
def test_a_bucket_that_is_not_there(objects, bucket):
    take_in(objects, b"model")
    with pytest.raises(S3Error) as caught:
        objects.open(bucket, "kws/x")
    assert caught.value.code == "NoSuchBucket"


@given(st.text(), st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_an_object_or_a_404(objects, bucket, key):
    take_in(objects, b"model")
    for name in (bucket, "models"):
        with pytest.raises(S3Error) as caught:
            objects.open(name, key)
        assert caught.value.status == 404


def test_a_reader_keeps_what_it_opened(objects):
    path = objects.root / "models" / "by-hand"
    take_in(objects, b"model")
    path.write_bytes(b"before")
    found = objects.open("models", "by-hand")
    path.with_suffix(".new").write_bytes(b"after!")
    path.with_suffix(".new").replace(path)
    assert found.read(0, 6) == b"before"
    found.close()
    again = objects.open("models", "by-hand")
    assert (again.read(0, 6), again.etag != found.etag) == (b"after!", True)
    again.close()
