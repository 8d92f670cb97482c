"""Each rule of the ledger can fail, and a clean run breaks none."""

from collections.abc import Callable

import pytest

from tests.faults.ledger import Figures, Ledger

EPOCH = 1_700_000_000


def sent(ledger: Ledger, *numbers: int, wants_acks: bool = False, result: str | None = None) -> None:
    """Heartbeats of the device `d`, sent and confirmed."""
    for number in numbers:
        ledger.sent("d", number, EPOCH + number, number if wants_acks else None, result)
        ledger.confirmed("d", number)


def accepted(ledger: Ledger, *numbers: int, result: str | None = None) -> None:
    """One call."""
    ledger.accepted("d", [(number, EPOCH + number) for number in numbers], result)


def test_a_clean_run() -> None:
    ledger = Ledger()
    sent(ledger, 1, 2, 3, wants_acks=True, result="r")
    sent(ledger, 4)
    accepted(ledger, 1, result="r")
    accepted(ledger, 2, 3, result="r")
    accepted(ledger, 2, 3, result="r")
    accepted(ledger, 4)
    for number in (1, 2, 3):
        ledger.acked("d", number, 0)
    assert ledger.broken() == []
    assert ledger.open == 0
    assert ledger.figures() == Figures(
        sent=4, confirmed=4, accepted=4, merged=4, duplicates=2, errors=0, lost=0, acks=3, results=1, calls=4
    )


def lost(ledger: Ledger) -> None:
    sent(ledger, 1, 2)
    accepted(ledger, 2)


def wrong_timestamp(ledger: Ledger) -> None:
    sent(ledger, 1)
    accepted(ledger, 1)
    ledger.accepted("d", [(1, EPOCH)])


def wrong_value(ledger: Ledger) -> None:
    sent(ledger, 1)
    accepted(ledger, 1)
    ledger.accepted("d", [(1.5, EPOCH + 1)])


def another_device(ledger: Ledger) -> None:
    sent(ledger, 1)
    accepted(ledger, 1)
    ledger.accepted("e", [(1, EPOCH + 1)])


def acked_first(ledger: Ledger) -> None:
    sent(ledger, 1, wants_acks=True)
    ledger.acked("d", 1, 0)
    accepted(ledger, 1)


def unasked_ack(ledger: Ledger) -> None:
    sent(ledger, 1)
    accepted(ledger, 1)
    ledger.acked("d", 1, 0)


def unknown_ack(ledger: Ledger) -> None:
    sent(ledger, 1)
    accepted(ledger, 1)
    ledger.acked("d", 2, 0)


def result_missing(ledger: Ledger) -> None:
    sent(ledger, 1, result="r")
    accepted(ledger, 1)


def result_acked_first(ledger: Ledger) -> None:
    sent(ledger, 1, wants_acks=True, result="r")
    accepted(ledger, 1)
    ledger.acked("d", 1, 0)
    accepted(ledger, 1, result="r")


def result_invented(ledger: Ledger) -> None:
    sent(ledger, 1)
    accepted(ledger, 1, result="r")


def order_of_calls(ledger: Ledger) -> None:
    sent(ledger, 1, 2)
    accepted(ledger, 2)
    accepted(ledger, 1)


def order_in_a_call(ledger: Ledger) -> None:
    sent(ledger, 1, 2)
    accepted(ledger, 2, 1)


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (lost, "d: 1 was confirmed and lost"),
        (wrong_timestamp, f"d: the cloud has (1, {EPOCH}), which was never sent"),
        (wrong_value, f"d: the cloud has (1.5, {EPOCH + 1}), which was never sent"),
        (another_device, f"e: the cloud has (1, {EPOCH + 1}), which was never sent"),
        (acked_first, "d: 1 was acked before the cloud accepted it"),
        (unasked_ack, "d: ack of seq 1, which was never asked for"),
        (unknown_ack, "d: ack of seq 2, which was never asked for"),
        (result_missing, "d: result 'r' never arrived"),
        (result_acked_first, "d: 1 was acked, and the cloud has not its result 'r'"),
        (result_invented, "d: result 'r' was never sent"),
        (order_of_calls, "d: 1 was accepted after one that was sent later"),
        (order_in_a_call, "d: 1 was accepted after one that was sent later"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_rule_is_reported(run: Callable[[Ledger], None], complaint: str) -> None:
    ledger = Ledger()
    run(ledger)
    assert ledger.broken() == [complaint]


def test_what_was_sent_again_later_may_come_later() -> None:
    ledger = Ledger()
    sent(ledger, 1, 2, 1, wants_acks=True)
    accepted(ledger, 2)
    accepted(ledger, 1)
    assert ledger.broken() == []


def test_a_repeated_delivery_may_come_after_newer_ones() -> None:
    ledger = Ledger()
    sent(ledger, 1, 2)
    accepted(ledger, 1)
    accepted(ledger, 2)
    accepted(ledger, 1, 2)
    assert ledger.broken() == []
    assert ledger.figures().duplicates == 2


def test_without_an_order_none_is_kept() -> None:
    ledger = Ledger(ordered=False)
    order_of_calls(ledger)
    assert ledger.broken() == []


def test_what_got_an_error_is_not_lost() -> None:
    ledger = Ledger()
    sent(ledger, 1, wants_acks=True)
    sent(ledger, 2)
    ledger.acked("d", 1, 7)
    assert ledger.open == 1
    ledger.refused("d", 2, 4)
    assert (ledger.broken(), ledger.open, ledger.figures().errors) == ([], 0, 2)


def test_only_heartbeats_without_seq_and_result_are_forgiven() -> None:
    ledger = Ledger()
    sent(ledger, 1, 2)
    assert ledger.broken(forgiven=2) == []
    assert len(ledger.broken(forgiven=1)) == 2
    sent(ledger, 3, wants_acks=True)
    assert len(ledger.broken(forgiven=3)) == 3


def test_what_the_broker_never_confirmed_is_open_and_not_lost() -> None:
    ledger = Ledger()
    ledger.sent("d", 1, EPOCH + 1)
    assert (ledger.broken(), ledger.open, ledger.figures().confirmed) == ([], 1, 0)


@pytest.mark.parametrize("wants_acks", [False, True])
def test_a_heartbeat_is_open_until_it_is_accepted(wants_acks: bool) -> None:
    ledger = Ledger()
    sent(ledger, 1, wants_acks=wants_acks)
    assert ledger.open == ledger.open_devices() == 1
    accepted(ledger, 1)
    assert ledger.open == ledger.open_devices() == int(wants_acks)
    if wants_acks:
        ledger.acked("d", 1, 0)
    assert ledger.open == ledger.open_devices() == 0


def test_after_an_accepted_heartbeat_earlier_ones_without_seq_are_not_open() -> None:
    ledger = Ledger()
    sent(ledger, 1, 2)
    accepted(ledger, 2)
    assert (ledger.open, ledger.open_devices()) == (1, 0)
    sent(ledger, 3, wants_acks=True)
    sent(ledger, 4)
    accepted(ledger, 4)
    assert ledger.open_devices() == 1


def test_start_over_forgets_everything() -> None:
    ledger = Ledger()
    sent(ledger, 1)
    accepted(ledger, 1)
    ledger.start_over()
    assert ledger.figures().sent == 0
    accepted(ledger, 1)
    assert ledger.broken() == [f"d: the cloud has (1, {EPOCH + 1}), which was never sent"]


def test_figures_of_some_devices() -> None:
    ledger = Ledger()
    sent(ledger, 1)
    ledger.sent("e", 1, EPOCH)
    assert (ledger.figures("e").sent, ledger.figures("e").confirmed, ledger.figures("d").lost) == (1, 0, 1)
