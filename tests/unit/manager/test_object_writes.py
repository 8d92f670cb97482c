"""Objects that are put into the folder: their facts, uploads in parts, and what a kill leaves; and a backup of them."""

import hashlib
import os
from contextlib import closing

import pytest

from gateway.manager.errors import S3Error
from gateway.manager.store import ObjectFacts, ObjectStore, Place, Uploads, etag_of_parts, object_store
from gateway.manager.store.moving import restore_backup, write_backup
from gateway.manager.store.uploads import EXPIRES, LEAST_PART
from tests.support.stores import sqlite_store

FACTS = ObjectFacts('"0123-2"', {"content-type": "a/b"}, (3, 2))


@pytest.fixture
def objects(tmp_path):
    made = ObjectStore(tmp_path)
    made.make_bucket("models")
    return made


def put(objects, key, content, facts=FACTS, bucket="models"):
    with objects.incoming() as path:
        path.write_bytes(content)
        return objects.put(path, bucket, key, facts, lambda before: None)


def opened(objects, key):
    with closing(objects.open("models", key)) as found:
        return found.read(0, found.size), found.etag, found.facts


def md5(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


def test_an_object_comes_with_its_facts(objects):
    put(objects, "a/b", b"hello")
    assert opened(objects, "a/b") == (b"hello", '"0123-2"', FACTS)
    (entry,) = objects.entries("models")
    assert (entry.key, entry.size, entry.etag) == ("a/b", 5, '"0123-2"')
    found = objects.stored_file("models", "a/b")
    assert (found.url, found.size, found.sha1) == ("s3://models/a/b", 5, hashlib.sha1(b"hello").hexdigest())


@pytest.mark.parametrize("how", ["rename", "write"])
def test_facts_of_a_file_that_was_replaced_by_hand_are_forgotten(objects, how):
    put(objects, "x", b"hello")
    path = objects.root / "models" / "x"
    if how == "rename":
        (objects.root / "new").write_bytes(b"HELLO")
        os.utime(objects.root / "new", (1, 1))
        (objects.root / "new").replace(path)
    else:
        path.write_bytes(b"HELLO!")
    content = path.read_bytes()
    assert opened(objects, "x") == (content, md5(content), ObjectFacts())


def test_a_kill_between_the_facts_and_the_object_changes_nothing(objects, monkeypatch):
    put(objects, "x", b"old")
    rename = object_store._rename

    def killed(temporary, target, root):
        if ".facts" not in target.parts:
            raise KeyboardInterrupt
        rename(temporary, target, root)

    monkeypatch.setattr(object_store, "_rename", killed)
    with pytest.raises(KeyboardInterrupt):
        put(objects, "x", b"newer", ObjectFacts('"9-9"'))
    monkeypatch.undo()
    assert opened(objects, "x") == (b"old", '"0123-2"', FACTS)
    put(objects, "x", b"newest", ObjectFacts('"8-8"'))
    assert opened(objects, "x")[:2] == (b"newest", '"8-8"')


def test_what_is_deleted_leaves_no_folder_and_no_facts(objects):
    put(objects, "a/b/c", b"1")
    put(objects, "a/d", b"2")
    objects.delete("models", "a/b/c", lambda before: None)
    objects.delete("models", "a/b/c", lambda before: None)
    assert sorted(each.name for each in (objects.root / "models/a").iterdir()) == ["d"]
    objects.delete("models", "a/d", lambda before: None)
    assert list((objects.root / "models").iterdir()) == []
    assert not any(each.is_file() for each in objects.root.rglob("*"))
    objects.remove_bucket("models")
    assert not objects.has_bucket("models")


def test_no_link_leads_a_change_out_of_the_folder(objects, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(b"outside")
    (objects.root / "models" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(S3Error):
        put(objects, "link/x", b"inside")
    objects.delete_unchecked("models", ["link/x"])
    assert objects.entries("models") == []
    assert (tmp_path / "outside" / "x").read_bytes() == b"outside"


def test_a_pipe_is_no_object(objects):
    os.mkfifo(objects.root / "models" / "pipe")
    assert objects.find("models", "pipe") is None
    assert objects.entries("models") == []


def upload(uploads, objects, *contents):
    begun = uploads.begin("models", "large", {"content-type": "a/b"}, "", False)
    for number, content in enumerate(contents, 1):
        with objects.incoming() as path:
            path.write_bytes(content)
            uploads.put_part(begun, number, path, md5(content), "")
    return begun


def complete(uploads, begun, check=lambda before: None, verify=lambda: None):
    parts = uploads.parts(begun)
    return uploads.complete(begun, parts, etag_of_parts(parts), check, lambda data: None, verify)


def test_an_object_in_parts(objects):
    uploads, contents = Uploads(objects), [b"a" * LEAST_PART, b"end"]
    begun = upload(uploads, objects, *contents)
    assert complete(uploads, begun).size == LEAST_PART + 3
    content, _, facts = opened(objects, "large")
    assert (content, facts.parts, facts.headers) == (b"".join(contents), (LEAST_PART, 3), {"content-type": "a/b"})
    with pytest.raises(S3Error, match="NoSuchUpload"):
        uploads.find(begun.id, "models", "large")


def test_an_upload_that_cannot_be_completed_is_there_still(objects):
    uploads = Uploads(objects)
    begun = upload(uploads, objects, b"one")

    def refuse(*rest):
        raise S3Error("PreconditionFailed", "", 412)

    for options in ({"check": refuse}, {"verify": refuse}):
        with pytest.raises(S3Error):
            complete(uploads, begun, **options)
    assert objects.entries("models") == []
    complete(uploads, begun)
    assert opened(objects, "large")[0] == b"one"


def test_uploads_that_were_given_up_are_removed(objects):
    uploads = Uploads(objects)
    old, new = upload(uploads, objects, b"one", b"two"), upload(uploads, objects, b"three")
    now = uploads.find(new.id, "models", "large").begun
    (objects.root / ".incoming" / "tmp-of-the-dead").write_bytes(b"half")
    for path in (objects.root / ".uploads" / old.id).iterdir():
        os.utime(path, (now - EXPIRES - 10, now - EXPIRES - 10))
    uploads.sweep(now + 5)
    assert [each.id for each in uploads.list("models")] == [new.id]
    assert not (objects.root / ".uploads" / old.id).exists()
    assert list((objects.root / ".incoming").iterdir()) == []
    uploads.sweep(now + EXPIRES + 60)
    assert uploads.list("models") == []


def test_a_backup_has_the_facts_and_no_parts(tmp_path):
    with sqlite_store(tmp_path / "site") as store:
        objects = ObjectStore(tmp_path / "site", store)
        objects.make_bucket("models")
        put(objects, "a/b", b"hello")
        upload(Uploads(objects), objects, b"part")
        assert write_backup(Place(tmp_path / "site"), tmp_path / "backup.tar").models == 1
    assert restore_backup(tmp_path / "backup.tar", Place(tmp_path / "other")).models == 1
    restored = ObjectStore(tmp_path / "other")
    assert opened(restored, "a/b") == (b"hello", '"0123-2"', FACTS)
    assert restored.entries(".uploads") == []
