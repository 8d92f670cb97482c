"""The report, for people and for programs."""

import json
from io import StringIO

from rich.console import Console

from gateway.doctor import as_json, exit_status, print_report
from gateway.doctor.result import failed, passed, unknown, warned

FINE = passed("session", "kept")
LATE = warned("TLS", "ends in 3 days", "renew it")
BAD = failed("queues", "[too small]", "make them larger")


def test_each_line_has_level_check_and_what_to_do() -> None:
    output = StringIO()
    print_report([FINE, LATE, BAD], Console(file=output, width=100))
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert lines == [
        ["PASS", "session", "kept"],
        ["WARN", "TLS", "ends", "in", "3", "days"],
        ["→", "renew", "it"],
        ["FAIL", "queues", "[too", "small]"],
        ["→", "make", "them", "larger"],
        ["1", "pass,", "1", "warn,", "1", "fail"],
    ]


def test_json_has_the_same() -> None:
    assert json.loads(as_json([FINE, BAD])) == {
        "pass": 1,
        "warn": 0,
        "fail": 1,
        "checks": [
            {"check": "session", "level": "pass", "found": "kept", "todo": None},
            {"check": "queues", "level": "fail", "found": "[too small]", "todo": "make them larger"},
        ],
    }


def test_only_a_failure_gives_exit_status_1() -> None:
    assert exit_status([FINE, LATE, unknown("ACL", "no file", "name it")]) == 0
    assert exit_status([FINE, BAD]) == 1
