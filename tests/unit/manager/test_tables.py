"""What is printed: text of a device never acts on the terminal."""

import io

from rich.console import Console

from gateway.manager.cli.tables import status_table


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
