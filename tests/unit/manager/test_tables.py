"""What is printed: the headings, and text of a device, which never acts on the terminal."""

import io

import pytest
from rich.console import Console

from gateway.manager.cli.tables import (
    AT_ONCE,
    Listing,
    counts_text,
    deployments_table,
    devices_table,
    log_table,
    progress_table,
    rollouts_table,
    status_table,
    summary_table,
)

REPORT = {
    "fleet": "f", "device": "d", "registered": 1.0, "agent_version": None, "accepted": 0, "newest": None,
    "liveness": {"state": "never heard", "since": None, "until": None, "seconds": None},
    "metrics": [], "models": [], "deployments": [], "results": [], "labels": {},
}  # fmt: skip
HEARD = {"agent_version": "1.0.0", "accepted": 1234, "newest": 100.0}


def printed(listing, width=300):
    """As on a terminal."""
    out = io.StringIO()
    listing.print(Console(file=out, width=width, force_terminal=True, color_system=None))
    return out.getvalue()


def piped(listing):
    out = io.StringIO()
    listing.print(Console(file=out))
    return out.getvalue()


def test_text_of_a_device_is_only_text():
    message = "\x1b[31mred [bold]bold[/bold]\r\n\x07"
    result = {"deployment": "x", "result": {"DeploymentStatusMessage": message}, "received": 1.0, "told": 1}
    listed = [REPORT | {"results": [result]}]
    for out in (printed(status_table(listed)), piped(status_table(listed))):
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


ROLLOUT = {
    "fleet": "fleet-a", "deployment": "wake-word-12",
    "state": "stopped", "reason": "3 of 10 results are FAIL, more than 10%",
    "stage": 2, "stages": [{"share": 1.0}, {"share": 10.0}, {"share": 100.0}],
    "devices": 20000, "succeeded": 19000, "failed": 3, "pending": 997,
}  # fmt: skip


@pytest.mark.parametrize(
    "listing", [progress_table([ROLLOUT]), status_table([REPORT | HEARD])], ids=["progress", "status"]
)
def test_no_heading_is_broken_at_80_columns(listing):
    lines = printed(listing, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [cell.strip() for cell in lines[1].split("┃")[1:-1]] == list(listing.headings)


def test_in_a_pipe_a_row_has_a_line_for_each_of_its_texts():
    metrics = [
        {"model": "", "version": "", "dimension": "sys", "name": name, "value": 1.5, "at": 1.0} for name in ("a", "b")
    ]
    assert piped(status_table([REPORT | HEARD | {"metrics": metrics}, REPORT | {"device": "other"}])) == (
        "Device   State                        Metrics      Models  In force  Results\n"
        "f/d      never heard                  sys/a = 1.5\n"
        "1.0.0    newest 1970-01-01 00:01:40Z  sys/b = 1.5\n"
        "         1,234 heartbeats\n"
        "f/other  never heard\n"
    )


def test_a_pipe_gets_rows_before_all_are_there():
    """A million devices do not fit into the memory."""
    out = io.StringIO()

    def rows():
        yield from [("a", "b")] * AT_ONCE
        assert "a" in out.getvalue()
        yield ("wider than those before", "c")

    Listing(("First", "Second"), rows()).print(Console(file=out))
    lines = out.getvalue().splitlines()
    assert (len(lines), lines[:2], lines[-1]) == (
        AT_ONCE + 2, ["First  Second", "a      b"], "wider than those before  c",
    )  # fmt: skip


def test_a_fleet_is_shown_with_its_states_and_models():
    models = [{"name": "kws", "version": "1", "devices": 1200}, {"name": "vad", "version": "", "devices": 1}]
    report = {"fleet": "f", "devices": 1234, "states": {"asleep": 4, "silent": 1230}, "failing": 2, "models": models}
    assert piped(summary_table([report])).splitlines()[1:] == [
        "f      1,234    4 asleep      1,200 kws 1",
        "                1,230 silent  1 vad",
        "                2 failing",
    ]


def test_the_counts_of_several_fleets_are_added():
    fleets = [{"states": {"silent": 2, "connected": 1200}, "failing": 1}, {"states": {"silent": 1}, "failing": 0}]
    assert counts_text(fleets) == "1,203 devices: 1,200 connected, 3 silent, 1 failing"
    assert counts_text([{"states": {"gone": 0, "asleep": 1}, "failing": 0}]) == "1 device: 1 asleep, 0 failing"


def test_on_a_terminal_the_newest_heartbeat_is_told_in_words():
    assert "newest 3 min ago" in printed(status_table([REPORT | HEARD], now=100.0 + 190))


def test_labels_are_shown_with_the_device():
    assert "f/d     never heard\nsite=x" in piped(status_table([REPORT | {"labels": {"site": "x"}}]))


def test_a_line_of_tsv_is_a_row():
    """A cell of several lines becomes one line, a number has no commas; a text with commas stays."""
    listing = Listing(("A", "B", "C"), [("1,234,567", "one\ntwo", "1,2"), ("", "", "999")])
    assert list(listing.tsv()) == ["A\tB\tC\n", "1234567\tone; two\t1,2\n", "\t\t999\n"]


@pytest.mark.parametrize(
    ("kind", "detail", "text"),
    [
        ("state", {"after": "silent", "before": "connected"}, "silent, before: connected"),
        ("plan", {"change": "assigned", "deployment": "canary"}, "canary assigned"),
        ("result", {"DeploymentName": "canary", "DeploymentStatus": "FAIL"}, "canary: FAIL"),
        ("result", {}, ": no status"),
        ("limit", {"deleted": 3, "kept": 1000, "what": "metrics"}, "3 metrics deleted, the newest 1,000 kept"),
        ("other", {"a": 3}, '{"a": 3}'),
    ],
)
def test_an_entry_of_a_log_is_words(kind, detail, text):
    out = piped(log_table([{"at": 60.0, "kind": kind, "detail": detail}]))
    assert out.splitlines()[1].split("  ") == ["1970-01-01 00:01:00Z", kind, text]


def test_the_headings_are_words_of_an_operator():
    """They are not names of our classes."""
    headings = [
        heading
        for listing in (devices_table([]), deployments_table([]), rollouts_table([]))
        for heading in listing.headings
    ]
    assert headings == [
        "Fleet", "Device", "Registered",
        "Device", "Deployment", "Policy", "Handle", "Version", "State", "Size", "SHA-1", "URL", "Created",
        "Fleet", "Deployment", "Models", "Created", "State", "Stage", "Devices", "Succeeded", "Failed", "Pending",
        "Not reached", "Waiting", "Superseded", "Withdrawn",
    ]  # fmt: skip
