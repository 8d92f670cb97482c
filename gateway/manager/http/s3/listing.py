"""Pages of a bucket's keys: prefix, delimiter, where to begin, how many. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.manager.store import ObjectEntry


@dataclass(frozen=True, slots=True)
class Page:
    """`keys`: objects and common prefixes in one order. `last`: the last of them, where more follow; else None."""

    objects: list[ObjectEntry]
    prefixes: list[str]
    last: str | None


def list_page(entries: Sequence[ObjectEntry], prefix: str, delimiter: str, after: str, most: int) -> Page:
    """The page of at most `most` objects and common prefixes after `after`. `entries`: all of the prefix, by key.

    A common prefix is what keys have up to the first delimiter after `prefix`. It counts as one, and comes once: where
    `after` begins with it, it was on an earlier page.
    """
    objects: list[ObjectEntry] = []
    prefixes: list[str] = []
    last = ""
    for entry in entries:
        if entry.key <= after or not entry.key.startswith(prefix):
            continue
        end = entry.key.find(delimiter, len(prefix)) if delimiter else -1
        common = entry.key[: end + len(delimiter)] if end >= 0 else None
        if common is not None and (after.startswith(common) or (prefixes and prefixes[-1] == common)):
            continue
        if len(objects) + len(prefixes) == most:
            return Page(objects, prefixes, last if most else None)
        if common is None:
            objects.append(entry)
        else:
            prefixes.append(common)
        last = common or entry.key
    return Page(objects, prefixes, None)
