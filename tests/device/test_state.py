"""The state file: what was saved comes back, and the old text is kept until the new one is whole."""

import os

from device_sdk.port import in_file
from tests.device.support import raises

try:
    import vfs

    from tests.device.flash import Flash

    systems = vfs.VfsLfs2, vfs.VfsFat
except ImportError:  # CPython has none
    systems = ()

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


def chip(system, data, left=1 << 30):
    """The flash on which that file system is mounted until it loses power at a write, which is torn.

    FAT needs a medium that writes a block whole or not at all, as memory cards do.
    """
    flash = Flash(data, left)
    if system is vfs.VfsFat:
        whole = flash.writeblocks
        flash.writeblocks = lambda n, buf: whole(n, buf if flash.left > 0 else b"")
    vfs.mount(system(flash), "/flash")
    return flash


def formatted(system, size, others):
    """An empty file system but for so many other files: with them the directory of FAT goes on in its next block."""
    data = bytearray(size)
    system.mkfs(Flash(data, 1 << 30))
    chip(system, data)
    for n in range(others):
        open("/flash/another file, the %d." % n, "w").close()
    vfs.umount("/flash")
    return data


def cut(system, data, left, text):
    """A boot that reads the state and saves this text, and loses power at that write. Returns whether it did not."""
    flash = chip(system, data, left)
    try:
        store = in_file("/flash/agent.state")
        try:
            store()
        except OSError:
            pass
        store(text)
    except OSError:
        pass
    whole = not flash.dead
    flash.dead = True  # what is still open is never written
    vfs.umount("/flash")
    return whole


def saved(system, data):
    chip(system, data)
    try:
        return in_file("/flash/agent.state")()
    finally:
        vfs.umount("/flash")


def cuts(system, first, before, after):
    """After a cut at each write of a boot that saves `after`: the data of the flash, and the text that is read."""
    left = 0
    whole = False
    while not whole:
        data = bytearray(first)
        whole = cut(system, data, left, after)
        left += 1
        text = saved(system, bytearray(data))
        assert text in (before, after), (system, left)
        yield data, text


def test_a_cut_at_any_write_leaves_the_old_text_or_the_new_one_and_so_does_another_one_at_the_next_boot():
    old, new, last = [text * 100 for text in ("old", "new", "last")]
    for system in systems:
        for others in (0, 3, 5):
            first = formatted(system, 64 * 512, others)
            assert cut(system, first, 1 << 30, old)
            seen = []
            for data, text in cuts(system, first, old, new):
                seen.append(text)
                # With five, FAT renames in two blocks: between them both names have the same data, and the next save
                # writes over it.
                for _ in cuts(system, data, text, last) if others < 5 else ():
                    pass
            assert len(seen) > 4
            assert seen[0] == old
            assert seen[-1] == new
