"""The README's table of settings is the one that the settings themselves tell; its bytes are what it says they are."""

import json
import re
from pathlib import Path

import msgpack
from pydantic import SecretStr

from gateway.config import Settings

README = Path(__file__).parents[2] / "README.md"


def settings_table() -> str:
    """Markdown; a default that this machine computes is empty."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        shown = "" if default in (None, "", ()) else json.dumps(default)
        rows.append(f"| `{name}` | {f'`{shown}`' if shown else ''} | {field.description} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting() -> None:
    _, _, rest = README.read_text("utf-8").partition("<!-- settings -->\n")
    block, _, _ = rest.partition("\n<!-- /settings -->")
    assert block == settings_table()


def test_the_payloads_sent_by_hand_are_what_stands_above_them() -> None:
    text = README.read_text("utf-8")
    pairs = re.findall(r"# (?:hello|hb|get): (\[.*\]): .*\n    echo ([0-9a-f]+) ", text)
    assert len(pairs) == text.count("xxd -r -p") == 3
    for said, packed in pairs:
        assert msgpack.unpackb(bytes.fromhex(packed)) == json.loads(said.replace("nil", "null"))
