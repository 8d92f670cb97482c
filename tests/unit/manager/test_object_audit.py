"""Rows of the audit for objects of the directory: before the change, and corrected where it did not follow."""

import hashlib
from contextlib import closing

import pytest

from gateway.manager.errors import S3Error, StoreUnavailable
from gateway.manager.store import Auditor, ObjectFacts, ObjectStore, Place, local_address, object_store
from gateway.manager.store.moving import restore_backup, write_backup
from gateway.manager.store.object_audit import CHECKED
from tests.support.control_plane import audit_of
from tests.support.stores import open_place


@pytest.fixture
def store(tmp_path):
    with open_place(Place(tmp_path)) as opened:
        yield opened


@pytest.fixture
def objects(store, tmp_path):
    made = ObjectStore(tmp_path, store)
    made.make_bucket("models")
    return made


def auditor(action="s3:PutObject", now=1.0):
    return Auditor("KEY", "10.0.0.1", action, now)


def md5(content):
    return hashlib.md5(content).hexdigest()


def put(objects, key, content, **of_auditor):
    with objects.incoming() as path:
        path.write_bytes(content)
        facts = ObjectFacts(f'"{md5(content)}"')
        return objects.put(path, "models", key, facts, lambda before: None, auditor(**of_auditor))


def rows(store):
    """(action, resource, sizes before and after)"""
    found = audit_of(store)
    sizes = [[each[name] and each[name].get("Size") for name in ("before", "after")] for each in found]
    return [(each["action"], each["resource"], *size) for each, size in zip(found, sizes, strict=True)]


def killed(monkeypatch, error=KeyboardInterrupt):
    """From now on no object gets its name."""

    def rename(temporary, target, root):
        raise error

    monkeypatch.setattr(object_store, "_rename", rename)


def test_a_kill_after_the_row_is_told_by_the_next_process(objects, store, tmp_path, monkeypatch):
    put(objects, "x", b"old")
    killed(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        put(objects, "x", b"newer", now=2.0)
    monkeypatch.undo()
    said = [("s3:PutObject", "s3://models/x", None, 3), ("s3:PutObject", "s3://models/x", 3, 5)]
    assert rows(store) == said
    later = ObjectStore(tmp_path, store)
    later.check_audit()
    assert rows(store) == [*said, (CHECKED, "s3://models/x", 5, 3)]
    last = audit_of(store)[-1]
    assert (last["key"], last["address"]) == ("", local_address())
    assert (last["before"]["ETag"], last["after"]["ETag"]) == (md5(b"newer"), md5(b"old"))
    ObjectStore(tmp_path, store).check_audit()
    assert len(rows(store)) == 3


def test_a_kill_after_the_rows_of_several_is_told_of_each(objects, store, tmp_path, monkeypatch):
    for number, key in enumerate("abc"):
        put(objects, key, b"x" * number, now=number)
    remove = ObjectStore._remove

    def killed_after_one(self, bucket, keys):
        remove(self, bucket, keys[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(ObjectStore, "_remove", killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        objects.delete_others("models", ["a", "b", "a", "none", "c"], auditor("s3:DeleteObjects", 9.0))
    monkeypatch.undo()
    ObjectStore(tmp_path, store).check_audit()
    assert rows(store)[3:] == [
        *(("s3:DeleteObjects", f"s3://models/{key}", size, None) for size, key in enumerate("abc")),
        *((CHECKED, f"s3://models/{key}", None, size) for size, key in ((1, "b"), (2, "c"))),
    ]


def test_a_change_that_fails_is_told_at_once(objects, store, monkeypatch):
    killed(monkeypatch, OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        put(objects, "x", b"hello")
    assert rows(store) == [("s3:PutObject", "s3://models/x", None, 5), (CHECKED, "s3://models/x", 5, None)]


def test_where_the_database_fails_too_the_next_change_tells(objects, store, monkeypatch):
    killed(monkeypatch, OSError(28, "No space left on device"))
    with monkeypatch.context() as failing:
        failing.setattr(type(objects._audit), "check", unavailable_from_the_second(objects))
        with pytest.raises(OSError, match="No space"):
            put(objects, "x", b"hello")
    monkeypatch.undo()
    put(objects, "y", b"1", now=2.0)
    assert rows(store)[1:] == [(CHECKED, "s3://models/x", 5, None), ("s3:PutObject", "s3://models/y", None, 1)]


def unavailable_from_the_second(objects):
    check, calls = type(objects._audit).check, []

    def fails(self):
        calls.append(self)
        if len(calls) > 1:
            raise StoreUnavailable("away")
        check(self)

    return fails


def test_while_the_database_is_away_nothing_is_changed(objects, store, monkeypatch):
    put(objects, "x", b"old")

    def away(work):
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "write", away)
    with pytest.raises(StoreUnavailable):
        put(objects, "x", b"newer")
    with pytest.raises(StoreUnavailable):
        objects.delete("models", "x", lambda before: None, auditor("s3:DeleteObject"))
    with pytest.raises(StoreUnavailable):
        objects.make_bucket("other", auditor("s3:CreateBucket"))
    assert (objects.root / "models" / "x").read_bytes() == b"old"
    assert list(objects.buckets()) == ["models"]


def test_what_is_refused_has_no_row(objects, store, tmp_path):
    put(objects, "a", b"1")
    put(objects, "b/c", b"2")
    (objects.root / "models" / "link").symlink_to(tmp_path)
    for key in ("a/b", "b", "link/x"):
        with pytest.raises(S3Error):
            put(objects, key, b"3")
    with pytest.raises(S3Error):
        objects.remove_bucket("models", auditor("s3:DeleteBucket"))
    objects.delete("models", "none", lambda before: None, auditor("s3:DeleteObject"))
    objects.make_bucket("models", auditor("s3:CreateBucket"))
    assert [resource for _, resource, *_ in rows(store)] == ["s3://models/a", "s3://models/b/c"]


def test_a_site_that_was_restored_is_as_its_audit_says(objects, store, tmp_path):
    put(objects, "x", b"hello")
    write_backup(Place(tmp_path), tmp_path / "b.tar")
    restore_backup(tmp_path / "b.tar", Place(tmp_path / "new"))
    with open_place(Place(tmp_path / "new")) as restored:
        with closing(ObjectStore(tmp_path / "new", restored).open("models", "x")) as found:
            assert found.size == 5
        ObjectStore(tmp_path / "new", restored).check_audit()
        assert [each[0] for each in rows(restored)] == ["s3:PutObject", "edge-manager:Restore"]
