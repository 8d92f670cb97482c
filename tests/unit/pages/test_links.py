"""Every link on every page leads to a file of this repository, or to a heading of a page."""

import re

import pytest

from tests.support import pages
from tests.support.pages import Page
from tests.support.paths import ROOT


def mistakes(page: Page) -> list[str]:
    found = []
    for link in page.links():
        if re.match(r"https://[\w.-]+(/|$)", link):
            continue  # no test asks the network
        target, _, anchor = link.partition("#")
        if not target:
            found += [link] * (anchor not in page.anchors())
            continue
        path = (page.folder / target).resolve()
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else link
        is_here = path.exists() and path.is_relative_to(ROOT)
        if not is_here or (anchor and anchor not in pages.page(name).anchors()):
            found.append(link)
    return found


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_every_link_resolves(page: Page) -> None:
    assert mistakes(page) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a](README.md)", []),
        ("[a](device_sdk/PROTOCOL.md#hb)", []),
        ("[a](device_sdk/PROTOCOL.md#none)", ["device_sdk/PROTOCOL.md#none"]),
        ("[a](none.md)", ["none.md"]),
        ("[a](../outside.md)", ["../outside.md"]),
        ("[a](http://example.com/)", ["http://example.com/"]),
        ("# A `b`: c\n[a](#a-b-c) [b](#a-b)", ["#a-b"]),
        ("# A\n# A\n[a](#a-1) [b](#a-2)", ["#a-2"]),
        ("```\n[a](none.md)\n```", []),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, wrong: list[str]) -> None:
    assert mistakes(Page("page.md", text)) == wrong
