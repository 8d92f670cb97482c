"""ListObjectsV2's pages against a plain list: nothing twice, nothing missing, in order, whatever the page's size."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.http.s3.listing import list_page
from gateway.manager.store import ObjectEntry

KEYS = st.sets(st.text("ab/-", min_size=1, max_size=7), max_size=25)
PREFIXES = st.text("ab/-", max_size=3)
DELIMITERS = st.sampled_from(["", "/", "-", "ab", "//"])


def plain(keys: Iterable[str], prefix: str, delimiter: str) -> list[tuple[str, bool]]:
    """What a client is to see: keys, and common prefixes, in one order."""
    found: set[tuple[str, bool]] = set()
    for key in keys:
        if key.startswith(prefix):
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                found.add((prefix + rest[: rest.index(delimiter)] + delimiter, True))
            else:
                found.add((key, False))
    return sorted(found)


@given(KEYS, PREFIXES, DELIMITERS, st.integers(1, 6))
def test_all_pages_together_are_the_list(keys: set[str], prefix: str, delimiter: str, most: int) -> None:
    entries = [ObjectEntry(key, 1, 1.0, '""') for key in sorted(keys)]
    seen: list[tuple[str, bool]] = []
    after = ""
    while True:
        page = list_page(entries, prefix, delimiter, after, most)
        items = sorted([(each.key, False) for each in page.objects] + [(each, True) for each in page.prefixes])
        assert len(items) == most or page.last is None
        seen += items
        if page.last is None:
            break
        assert page.last == items[-1][0]
        after = page.last
    assert seen == plain(keys, prefix, delimiter)


@given(KEYS, PREFIXES, DELIMITERS, st.text("ab/-", max_size=5))
def test_what_begins_after_a_key(keys: set[str], prefix: str, delimiter: str, after: str) -> None:
    entries = [ObjectEntry(key, 1, 1.0, '""') for key in sorted(keys)]
    page = list_page(entries, prefix, delimiter, after, 1000)
    found = sorted([(each.key, False) for each in page.objects] + [(each, True) for each in page.prefixes])
    wanted = plain([key for key in keys if key > after], prefix, delimiter)
    assert found == [item for item in wanted if not (item[1] and after.startswith(item[0]))]


@given(KEYS)
def test_no_page_is_asked_for(keys: set[str]) -> None:
    entries = [ObjectEntry(key, 1, 1.0, '""') for key in sorted(keys)]
    page = list_page(entries, "", "", "", 0)
    assert (page.objects, page.prefixes, page.last) == ([], [], None)
