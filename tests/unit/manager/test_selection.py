"""Which devices a stage chooses, whatever the parts in which it is given them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.control.selection import StageChoice
from gateway.manager.rollouts import place_of, rollout_order

NAMES = st.lists(st.text("abcxyz-7", min_size=1, max_size=4), unique=True, max_size=40)


def chosen(config: dict[str, object], devices: dict[str, int], size: int = 3) -> StageChoice:
    choice, listed = StageChoice("p", config), list(devices.items())
    for begin in range(0, len(listed), size):
        choice.add(listed[begin : begin + size])
    return choice


@given(NAMES, st.integers(1, 100), st.integers(1, 50))
def test_a_share_is_the_beginning_of_the_order(names: list[str], percentage: int, size: int) -> None:
    devices = {name: 2**40 + number for number, name in enumerate(names)}
    choice = chosen({"DeviceSubsetType": "PERCENTAGE", "Percentage": percentage}, devices, size)
    share = rollout_order("p", names)[: -(-percentage * len(names) // 100)]
    assert choice.ids() == [devices[name] for name in share]
    assert choice.last_place() == (place_of("p", share[-1]) if share else b"")
    assert {name for name in names if place_of("p", name) <= choice.last_place()} == set(share)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"DeviceSubsetType": "SELECTION", "DeviceNames": ["a1", "gone", "b1"]}, {"a1", "b1"}),
        ({"DeviceSubsetType": "NAMECONTAINS", "DeviceNameContains": "1"}, {"a1", "b1"}),
        ({"DeviceSubsetType": "NAMECONTAINS", "DeviceNameContains": "A"}, set()),
    ],
)
def test_what_names_say(config: dict[str, object], expected: set[str]) -> None:
    devices = {"a1": 1, "a2": 2, "b1": 3}
    order = [devices[name] for name in rollout_order("p", devices) if name in expected]
    assert chosen(config, devices).ids() == order
