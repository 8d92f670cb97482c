"""Text in a page is text; colours can be read; templates have no script and no style of their own."""

import re
from itertools import product
from pathlib import Path

import pytest

from gateway.manager import console
from gateway.manager.alerts import AlertState
from gateway.manager.api import STATES
from gateway.manager.console.rendering import SHAPES, Renderer
from gateway.manager.reports import DEPLOYMENT_DEVICE_STATES
from gateway.manager.rollouts import RolloutState

FOLDER = Path(console.__file__).parent
CSS = (FOLDER / "static" / "console.css").read_text()
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))
COLOURS = {
    name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", CSS)
}
TEXTS = {"text", "quiet", "accent", "good", "calm", "warn", "bad"}
GROUNDS = {"page", "surface", "raised"}


def luminance(colour):
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """As WCAG 2 has it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_of_black_and_white():
    assert contrast("#000000", "#ffffff") == 21
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("text", "ground", "least"),
    [
        *((text, ground, 4.5) for text, ground in product(sorted(TEXTS), sorted(GROUNDS))),
        *(("text", ground, 4.5) for ground in ("note", "ok", "wrong")),
        ("on-accent", "accent", 4.5),
        ("edge", "page", 3.0),
        ("edge", "surface", 3.0),
    ],
)
def test_each_colour_can_be_read_on_its_ground(text, ground, least):
    for theme in (0, 1):
        assert contrast(COLOURS[text][theme], COLOURS[ground][theme]) >= least, theme


def test_each_colour_is_a_variable_of_both_themes():
    assert {"line", "edge", "on-accent", "note", "ok", "wrong"} | TEXTS | GROUNDS == set(COLOURS)
    rules = re.sub(r"--[\w-]+: light-dark\([^)]*\)\);|--[\w-]+: [^;]*;", "", CSS)
    assert re.findall(r"#[0-9a-f]{3,8}\b|rgba?\(|hsla?\(", rules) == []
    assert set(re.findall(r"var\(--([\w-]+)\)", CSS)) <= set(COLOURS)


def test_the_style_sheet_takes_nothing_from_elsewhere():
    assert not re.search(r"url\(|@import|@font-face|//", CSS)


OWN_SCRIPT = """<script src="{{ static("console.js") }}" defer></script>"""


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_no_script_style_or_link_to_elsewhere(template):
    text = template.read_text().replace(OWN_SCRIPT, "")
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:|https?://|\|\s*safe|autoescape", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_each_table_has_a_caption_and_each_form_that_changes_something_a_token(template):
    text = template.read_text()
    assert len(re.findall("<table", text)) == len(re.findall("<caption", text))
    for form in re.findall(r'<form method="post".*?</form>', text, re.DOTALL):
        assert "token_field(token)" in form


def test_each_state_has_a_shape_beside_its_colour():
    assert {*STATES, *RolloutState, *DEPLOYMENT_DEVICE_STATES, *AlertState} == set(SHAPES) - {"nothing is wrong"}


def test_text_is_escaped_and_made_printable():
    frame = {
        "viewer": None, "navigation": [], "section": "/", "token": "t", "theme": None, "here": "/", "message": None,
    }  # fmt: skip
    hostile = "<script>alert(1)</script>\x00\u202eX'\"&"
    page = Renderer().render("error.html", frame | {"what": hostile, "todo": hostile}).decode()
    assert page.count("<script") == 1  # the console's own
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;\ufffd\ufffdX&#39;&#34;&amp;") == 3
