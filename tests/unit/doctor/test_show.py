"""What a person and a program get to read, and the thin probe of the disk."""

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from gateway.doctor import as_json, exit_status, probe_disk, show
from gateway.doctor.verdict import failed, passed, unknown, warned

FINE = passed("session", "kept")
LATE = warned("TLS", "ends in 3 days", "renew it")
BAD = failed("queues", "[too small]", "make them larger")


def test_each_line_tells_level_check_and_what_to_do() -> None:
    paper = StringIO()
    show([FINE, LATE, BAD], Console(file=paper, width=100))
    lines = [line.split() for line in paper.getvalue().splitlines()]
    assert lines == [
        ["PASS", "session", "kept"],
        ["WARN", "TLS", "ends", "in", "3", "days"],
        ["→", "renew", "it"],
        ["FAIL", "queues", "[too", "small]"],
        ["→", "make", "them", "larger"],
        ["1", "pass,", "1", "warn,", "1", "fail"],
    ]


def test_json_tells_the_same() -> None:
    assert json.loads(as_json([FINE, BAD])) == {
        "pass": 1,
        "warn": 0,
        "fail": 1,
        "checks": [
            {"check": "session", "level": "pass", "found": "kept", "todo": None},
            {"check": "queues", "level": "fail", "found": "[too small]", "todo": "make them larger"},
        ],
    }


def test_only_a_failure_is_one_for_scripts() -> None:
    assert exit_status([FINE, LATE, unknown("ACL", "no file", "name it")]) == 0
    assert exit_status([FINE, BAD]) == 1


def test_the_disk_is_looked_at_and_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    assert probe_disk.look(folder).free > 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").write_bytes(bytes(100))
    found = probe_disk.look(tmp_path)
    assert (found.fault, found.taken) == ("", 100)


def test_a_file_in_the_folders_place_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in probe_disk.look(tmp_path / "file").fault
    assert "cannot be written" in probe_disk.look(tmp_path / "file" / "below").fault
