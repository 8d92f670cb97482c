"""Lengths of time in words."""

import pytest

from gateway.manager.time_words import ago_words, duration_words, time_left_words


@pytest.mark.parametrize(
    ("seconds", "words"), [(90, "90 s"), (600, "10 min"), (5400, "90 min"), (7200, "2 h"), (86_400, "1 d"), (0, "0 s")]
)
def test_durations(seconds, words):
    assert duration_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (119.0, "119 s"), (120.0, "2 min"), (7201.0, "3 h"), (200_000.0, "3 d")]
)
def test_how_long_yet(seconds, words):
    assert time_left_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5.0, "just now"),
        (0.9, "just now"),
        (1.9, "1 s ago"),
        (119.9, "119 s ago"),
        (7199.0, "119 min ago"),
        (1e9, "11,574 d ago"),
    ],
)
def test_how_long_ago(seconds, words):
    assert ago_words(seconds) == words
