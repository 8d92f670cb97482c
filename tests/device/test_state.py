"""The state file: what was saved comes back, damage is noticed, the old one stands until the new one is whole."""

import os

from device_sdk.state import FileStore
from tests.device.support import raises

PATH = "state-under-test"


def clean():
    for name in (PATH, PATH + ".new"):
        try:
            os.remove(name)
        except OSError:
            pass


def test_there_is_nothing_at_first():
    clean()
    assert FileStore(PATH).load() is None


def test_what_was_saved_comes_back():
    for value in ([1, None, "text \u00e9", -5, [[1 << 40]]], ["x" * 3000]):
        FileStore(PATH).save(value)
        assert FileStore(PATH).load() == value
    clean()


def test_every_damage_is_noticed():
    store = FileStore(PATH)
    store.save([1, "two", 3])
    with open(PATH, "rb") as file:
        data = file.read()
    for n in range(len(data)):
        for damaged in (data[:n], data[:n] + bytes((data[n] ^ 1,)) + data[n + 1 :]):
            with open(PATH, "wb") as file:
                file.write(damaged)
            assert store.load() is None, damaged
    clean()


def test_a_cut_while_writing_leaves_the_old_one():
    store = FileStore(PATH)
    store.save([1])
    with open(PATH + ".new", "wb") as file:
        file.write(b"half of")
    assert store.load() == [1]
    store.save([2])
    assert store.load() == [2]
    clean()


def test_a_file_system_that_refuses_is_an_oserror():
    raises(OSError, FileStore("no-such-directory/state").save, [1])
