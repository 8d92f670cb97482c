"""Run a command, and fail where it leaves a process running, or a file where none belongs.

Usage: leaks.py [--deadline SECONDS] [--grace SECONDS] [--in TREE [--besides PATH]...] -- COMMAND...

Every process that the command started counts, also one that made itself a daemon. Files are compared below TREE on its
own file system, besides each PATH (relative to TREE) and what lies below it. What is found is listed on standard error;
the processes are then ended, as they are on SIGINT, SIGTERM and SIGHUP.
Exit status: the command's; 1 where it succeeded and left something; 124 where it did not end in time; 128 + the number
of the signal that ended it, or this program.
"""

import argparse
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

GRACE = 5.0
"""Seconds for processes to end after the command by themselves, and then after each signal."""
PR_SET_CHILD_SUBREAPER = 36
NO_END = 124  # as timeout(1) says


class Process(NamedTuple):
    pid: int
    parent: int
    zombie: bool


Files = dict[str, tuple[int, ...]]
"""Path -> what shows a change of it."""


def descendants(processes: Iterable[Process], root: int) -> list[int]:
    """The ids of the processes that run below `root`. A zombie does not run, yet its children may."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found, waiting = [], [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            waiting.append(child.pid)
            if not child.zombie:
                found.append(child.pid)
    return sorted(found)


def parse_stat(stat: str) -> Process:
    """A line of /proc/PID/stat: `pid (name) state parent ...`, where the name may hold blanks and parentheses."""
    pid, _, rest = stat.partition(" ")
    state, parent = rest.rpartition(")")[2].split()[:2]
    return Process(int(pid), int(parent), state in "ZX")


def differences(before: Files, after: Files) -> list[str]:
    """One line for each path that was made, changed or removed; for a whole folder one line."""
    made, removed = after.keys() - before.keys(), before.keys() - after.keys()
    words = [(path, "made") for path in made if str(Path(path).parent) not in made]
    words += [(path, "removed") for path in removed if str(Path(path).parent) not in removed]
    words += [(path, "changed") for path in before.keys() & after.keys() if before[path] != after[path]]
    return [f"{word}: {path}" for path, word in sorted(words)]


def files(tree: Path, besides: Collection[str] = ()) -> Files:
    """What lies below the tree. A folder that holds one of `besides` may come and go with it; times of folders do not
    count, since what changes them is seen itself."""
    excepted = {tree / path for path in besides}
    holders = {parent for path in excepted for parent in path.parents}
    if tree in excepted:
        return {}
    return {str(path.relative_to(tree)): mark for path, mark in _walk(tree, tree.stat().st_dev, excepted, holders)}


def _walk(
    folder: Path, device: int, excepted: Collection[Path], holders: Collection[Path]
) -> Iterator[tuple[Path, tuple[int, ...]]]:
    for entry in os.scandir(folder):
        path, status = Path(entry.path), entry.stat(follow_symlinks=False)
        if path in excepted:
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if path not in holders:
            mark = (status.st_mode, status.st_uid, status.st_gid)
            yield path, mark if is_folder else (*mark, status.st_size, status.st_mtime_ns)
        if is_folder and status.st_dev == device:
            yield from _walk(path, device, excepted, holders)


def running() -> list[int]:
    """The processes of this machine that run below this one."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                found.append(parse_stat(Path(entry.path, "stat").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has just ended
    return descendants(found, os.getpid())


def describe(pid: int) -> str:
    """Its id, user and command line."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return f"{pid}, user {Path(f'/proc/{pid}').stat().st_uid}: {line}"
    except (FileNotFoundError, ProcessLookupError):
        return f"{pid}: has just ended"


def run(command: list[str]) -> int:
    """The exit status of the command. Reaps what others leave meanwhile, as the first process of a machine does."""
    child = os.posix_spawnp(command[0], command, os.environ)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def await_end(seconds: float) -> list[int]:
    """The processes that still run after so many seconds; returns as soon as there is none."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []
        left = running()
        remaining = deadline - time.monotonic()
        if not left or remaining <= 0:
            return left
        # Whoever of them has no other parent is a child of this process: its end is a SIGCHLD.
        signal.sigtimedwait({signal.SIGCHLD}, remaining)


def end_all() -> None:
    """End every process below this one: SIGTERM, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        seen: set[int] = set()
        while new := set(running()) - seen:  # what one of them started meanwhile, too
            for pid in new:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            seen |= new
        if not await_end(GRACE):
            return


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(NO_END if number == signal.SIGALRM else 128 + number)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="leaks.py")
    parser.add_argument("--deadline", type=float, default=0, help="seconds; 0: none")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds for what still runs after the command")
    parser.add_argument("--in", dest="tree", type=Path)
    parser.add_argument("--besides", action="append", default=[])
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = files(options.tree, options.besides) if options.tree else {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _leave)
    signal.setitimer(signal.ITIMER_REAL, options.deadline)
    try:
        status = run(options.command)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # after the command, which would inherit it
        left = [f"left running: {describe(pid)}" for pid in await_end(options.grace)]
    except SystemExit as ended:
        if ended.code == NO_END:
            sys.stderr.write(f"{options.command[0]}: did not end in {options.deadline:g} s\n")
            sys.stderr.writelines(f"running: {describe(pid)}\n" for pid in running())
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        end_all()
    if options.tree:
        left += differences(before, files(options.tree, options.besides))
    sys.stderr.writelines(f"{line}\n" for line in left)
    return status or (1 if left else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
