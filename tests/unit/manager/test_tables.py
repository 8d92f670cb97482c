"""What is printed: the headings, and text of a device, which never acts on the terminal."""

import io

from rich.console import Console

from gateway.manager.cli.tables import deployments_table, devices_table, rollouts_table, status_table


def test_text_of_a_device_is_only_text():
    message = "\x1b[31mred [bold]bold[/bold]\r\n\x07"
    report = {
        "fleet": "f", "device": "d", "registered": 1.0, "agent_version": None, "accepted": 0, "newest": None,
        "metrics": [], "models": [], "deployments": [],
        "results": [{"deployment": "x", "result": {"DeploymentStatusMessage": message}, "received": 1.0, "told": 1}],
    }  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=300).print(status_table([report]))
    assert "\ufffd[31mred [bold]bold[/bold]\ufffd\ufffd\ufffd" in out.getvalue()
    assert not {"\x1b", "\r", "\x07"} & set(out.getvalue())


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
