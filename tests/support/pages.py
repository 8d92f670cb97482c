"""The project's Markdown pages: headings, links, code blocks and tables. It must never write to a page."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.paths import ROOT

_NO_PAGES = {"build", "dist", "node_modules", "__pycache__"}
_NAME = re.compile(r"<!-- (file|run) (\S+) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block. `language` "": it says none, or it is indented. `line`: its first one, from 1. `name`: from the
    comment `<!-- file NAME -->` or `<!-- run NAME -->` just before it, else ""."""

    page: str
    line: int
    language: str
    text: str
    name: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """`name`: its path below the root of the repository."""

    name: str
    text: str

    @property
    def folder(self) -> Path:
        return (ROOT / self.name).parent

    def anchors(self) -> set[str]:
        """Those that GitHub gives the headings."""
        found: set[str] = set()
        for title in _titles(_tokens(self.text)):
            slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            number = 0
            while (anchor := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(anchor)
        return found

    def links(self) -> list[str]:
        """The targets of links and pictures."""
        children = [child for token in _tokens(self.text) for child in token.children or ()]
        targets = (child.attrGet("href") or child.attrGet("src") for child in children)
        return [str(target) for target in targets if target]

    def blocks(self) -> Iterator[Block]:
        name = ""
        for token in _tokens(self.text):
            if token.type in ("fence", "code_block"):
                assert token.map is not None
                yield Block(self.name, token.map[0] + 1, token.info.strip(), token.content, name)
            found = _NAME.match(token.content) if token.type == "html_block" else None
            name = found[2] if found else ""

    def table(self, heading: str) -> list[list[str]] | None:
        """The cells, as they are written, of the first table below that heading, without its head; None: no table."""
        tokens = iter(_tokens(self.text))
        for title in _titles(tokens):
            if title.casefold() == heading.casefold():
                break
        else:
            return None
        rows: list[list[str]] = []
        for token in tokens:
            if token.type in ("heading_open", "table_close"):
                break
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline" and rows:
                rows[-1].append(token.content)
        return rows[1:] or None


def pages() -> list[Page]:
    """Every page of the project, in the order of their names."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [each for each in folders if not each.startswith(".") and each not in _NO_PAGES]
        found += [Path(folder, file) for file in files if file.endswith(".md")]
    return [page(path.relative_to(ROOT).as_posix()) for path in sorted(found)]


def page(name: str) -> Page:
    return Page(name, (ROOT / name).read_text("utf-8"))


def table_below(heading: str) -> list[list[str]]:
    """The table below that heading, on whichever page it is. Raises AssertionError unless exactly one page has it."""
    tables = {each.name: found for each in pages() if (found := each.table(heading))}
    assert len(tables) == 1, f"a table below the heading {heading!r} is on {sorted(tables) or 'no page'}"
    return next(iter(tables.values()))


def block(name: str, page_name: str) -> str:
    """The text of the block of that name on a page."""
    (found,) = [each.text for each in page(page_name).blocks() if each.name == name]
    return found


@cache
def _tokens(text: str) -> tuple[Token, ...]:
    return tuple(MarkdownIt("commonmark").enable("table").parse(text))


def _titles(tokens: "Iterator[Token] | tuple[Token, ...]") -> Iterator[str]:
    """The text of each heading."""
    tokens = iter(tokens)
    for token in tokens:
        if token.type == "heading_open":
            children = next(tokens).children or []
            yield "".join(child.content for child in children if child.type in ("text", "code_inline"))
