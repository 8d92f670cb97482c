"""The state file: what was saved comes back, and the old text is kept until the new one is whole."""

import os

from device_sdk.port import in_file
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
    raises(OSError, in_file(PATH))


def test_what_was_saved_comes_back():
    store = in_file(PATH)
    for text in ("[1, null, -5]", "x" * 3000, "gr\u00f6\u00dfe"):
        store(text)
        assert in_file(PATH)() == text
    clean()


def test_a_cut_while_writing_leaves_the_old_one():
    store = in_file(PATH)
    store("[1]")
    with open(PATH + ".new", "wb") as file:
        file.write(b"half of")
    assert store() == "[1]"
    store("[2]")
    assert store() == "[2]"
    clean()


def test_a_file_system_that_refuses_is_an_oserror():
    raises(OSError, in_file("no-such-directory/state"), "[1]")
