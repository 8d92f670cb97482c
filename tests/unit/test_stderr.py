"""The writer of stderr: it neither raises nor waits, counts what is lost, and says it once."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.stderr import StderrWriter

LINE = "x" * 99 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, StderrWriter]]:
    """A reader, and a writer for ten lines more than a full pipe has, whose pipe is full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"-" * 4095 + b"\n")
    except BlockingIOError:
        pass
    made = StderrWriter(writer, 10 * len(LINE))
    made.start(lambda lost: f"{lost} lost\n")
    yield reader, made
    read(reader, made)
    os.close(reader)
    os.close(writer)


def read(reader: int, writer: StderrWriter) -> list[str]:
    """All lines but those with which the pipe was full."""
    os.set_blocking(reader, False)
    data = b""
    while True:
        all_written = writer.drain(0.01)
        try:
            data += os.read(reader, 1 << 16)
        except BlockingIOError:
            if all_written:
                break
    return [line for line in data.decode().splitlines() if not line.startswith("-")]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_does_not_read_delays_nothing_and_hears_how_much_was_lost(
    pipe: tuple[int, StderrWriter], blocking: bool
) -> None:
    reader, writer = pipe
    os.set_blocking(writer.fileno(), blocking)
    for _ in range(15):
        writer.write(LINE)
    assert not writer.drain(0.01)
    assert writer.lost == 5
    assert read(reader, writer) == [LINE.rstrip()] * 10 + ["5 lost"]
    writer.write(LINE)
    assert read(reader, writer) == [LINE.rstrip()]


def test_a_disk_that_was_full_has_the_rest_and_the_count(tmp_path: Path) -> None:
    """A file of the same name takes the place of /dev/full, as a disk on which room was made."""
    full, file = os.open("/dev/full", os.O_WRONLY), os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    target = os.dup(full)
    writer = StderrWriter(target)
    writer.start(lambda lost: f"{lost} lost\n")
    writer.write(LINE)
    writer.write(LINE)
    assert writer.drain()
    os.dup2(file, target)
    writer.write("after\n")
    assert writer.drain()
    assert (tmp_path / "log").read_text() == "after\n2 lost\n"
    for each in (full, file, target):
        os.close(each)


def test_before_its_start_it_writes_at_once_and_raises_nothing() -> None:
    reader, target = os.pipe()
    writer = StderrWriter(target)
    print("caf\u00e9 \udcff", file=writer)
    assert os.read(reader, 100) == "caf\u00e9 \\udcff\n".encode()
    os.close(reader)
    print("gone", file=writer)
    assert writer.lost
    os.close(target)


def test_the_end_of_the_process_waits_for_what_is_written() -> None:
    code = (
        "import sys; from gateway.log import configure_log; import structlog; configure_log()\n"
        "for number in range(2000): structlog.get_logger().info('event', number=number)"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stderr.count("\n") == 2000


def test_a_stderr_that_was_closed_is_no_file_of_ours(tmp_path: Path) -> None:
    """The next file that is opened would have its number, and get the log."""
    code = (
        "import sys; from gateway.stderr import protect_stderr; protect_stderr()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w'); print('x', file=sys.stderr); sys.exit(file.fileno() == 2)"
    )
    done = subprocess.run(["/bin/sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, code], timeout=60, check=False)
    assert (done.returncode, (tmp_path / "file").read_text()) == (0, "")


def test_a_write_that_was_torn_is_ended_by_a_line_end(tmp_path: Path) -> None:
    """A disk becomes full in the middle of a line: the next one begins a line of its own."""
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    writer = StderrWriter(target)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
        writer.write(LINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    writer.write("next\n")
    assert (tmp_path / "log").read_text() == "x" * 50 + "\nnext\n"
    assert writer.lost == 1
    os.close(target)
