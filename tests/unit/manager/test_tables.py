"""What is printed: the headings, and text of a device, which never acts on the terminal."""

import io

import pytest
from rich.console import Console

from gateway.manager.cli.tables import deployments_table, devices_table, rollouts_table, status_table

REPORT = {
    "fleet": "f", "device": "d", "registered": 1.0, "agent_version": None, "accepted": 0, "newest": None,
    "liveness": {"state": "never heard", "since": None, "until": None, "seconds": None},
    "metrics": [], "models": [], "deployments": [], "results": [],
}  # fmt: skip
HEARD = {"agent_version": "1.0.0", "accepted": 1234, "newest": 100.0}


def printed(table, width=300):
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


def test_text_of_a_device_is_only_text():
    message = "\x1b[31mred [bold]bold[/bold]\r\n\x07"
    result = {"deployment": "x", "result": {"DeploymentStatusMessage": message}, "received": 1.0, "told": 1}
    out = printed(status_table([REPORT | {"results": [result]}]))
    assert "\ufffd[31mred [bold]bold[/bold]\ufffd\ufffd\ufffd" in out
    assert not {"\x1b", "\r", "\x07"} & set(out)


@pytest.mark.parametrize(
    ("state", "since", "until", "text"),
    [
        ("never heard", None, None, "never heard"),
        ("connected", None, None, "connected"),
        ("asleep", 60.0, 3660.0, "asleep until 1970-01-01 01:01:00Z"),
        ("asleep", 60.0, None, "asleep since 1970-01-01 00:01:00Z"),
        ("silent", 60.0, None, "silent since 1970-01-01 00:01:00Z"),
        ("gone", 60.0, None, "gone since 1970-01-01 00:01:00Z"),
        ("not announced", None, None, "newest 1970-01-01 00:01:40Z"),
    ],
)
def test_a_device_is_shown_with_its_state(state, since, until, text):
    report = REPORT | HEARD | {"liveness": {"state": state, "since": since, "until": until, "seconds": 60.0}}
    first, second, *_ = [line.split("│") for line in printed(status_table([report])).splitlines() if "│" in line]
    assert (first[1].strip(), second[1].strip(), first[2].strip()) == ("f/d", "1.0.0", text)


def test_one_heartbeat_is_not_several():
    out = printed(status_table([REPORT | HEARD | {"accepted": 1}]))
    assert "1 heartbeat " in out


def test_the_status_fits_a_terminal_of_80_columns():
    metric = {"model": "", "version": "", "dimension": "sys", "name": "free-heap", "value": 81344, "at": 1.0}
    liveness = {"state": "asleep", "since": 60.0, "until": 3660.0, "seconds": 3600.0}
    lines = printed(status_table([REPORT | HEARD | {"metrics": [metric], "liveness": liveness}]), 80).splitlines()
    assert max(map(len, lines)) <= 80
    text = "".join(line.split("│")[2].strip() + " " for line in lines if "│" in line)
    assert " ".join(text.split()) == "asleep until 1970-01-01 01:01:00Z newest 1970-01-01 00:01:40Z 1,234 heartbeats"


def test_the_headings_are_words_of_an_operator():
    """They are not names of our classes."""
    headings = [
        column.header
        for table in (devices_table([]), deployments_table([]), rollouts_table([]))
        for column in table.columns
    ]
    assert headings == [
        "Fleet", "Device", "Registered",
        "Device", "Deployment", "Policy", "Handle", "State", "Size", "SHA-1", "URL", "Created",
        "Fleet", "Deployment", "Created", "State", "Stage", "Devices", "Succeeded", "Failed", "Pending", "Waiting",
        "Superseded", "Withdrawn",
    ]  # fmt: skip
