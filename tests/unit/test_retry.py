"""The retry policy: what is tried again, how long the waits may be, who is given up when, and that a stop ends it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from gateway.errors import BrokerError, CloudError, OperatorError, PermanentError, TransientError
from gateway.retry import FailureRecord, RetryPolicy, ServiceUptime, ShuttingDown

FAILED = TransientError("ThrottlingException", "slow down")
OPERATOR = OperatorError("AccessDenied", "no")
REFUSED = PermanentError("ValidationException", "no")
BROKER = BrokerError("nobody listens")
NO_TIME = 1e-9


def quick(give_up_after: float = 300.0) -> RetryPolicy:
    """A policy whose waits are over at once."""
    return RetryPolicy(asyncio.Event(), base=NO_TIME, cap=NO_TIME, give_up_after=give_up_after)


class Attempts:
    """Raises these errors one after another, then succeeds. `told` is what was reported before each wait."""

    def __init__(self, *errors: Exception, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.errors = list(errors)
        self.meanwhile = meanwhile
        self.told: list[tuple[BaseException, int]] = []

    async def __call__(self) -> str:
        self.meanwhile()
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def tell(self, error: BaseException, attempts: int) -> None:
        self.told.append((error, attempts))


async def run(policy: RetryPolicy, attempts: Attempts) -> str:
    retrying: Callable[[Attempts], Awaitable[str]] = policy.connecting(attempts.tell)
    return await retrying(attempts)


async def test_a_connection_is_tried_for_ever() -> None:
    attempts = Attempts(*[BrokerError(str(number)) for number in range(200)])
    assert await run(quick(give_up_after=0.0), attempts) == "done"
    assert [count for _, count in attempts.told] == list(range(1, 201))


@pytest.mark.parametrize("error", [REFUSED, FAILED, ValueError("a fault of ours")])
async def test_what_cannot_pass_is_raised_as_it_is_at_once(error: Exception) -> None:
    attempts = Attempts(BROKER, error, BROKER)
    with pytest.raises(type(error)) as caught:
        await run(quick(), attempts)
    assert caught.value is error
    assert (len(attempts.told), len(attempts.errors)) == (1, 1)


@pytest.mark.parametrize(("failures", "told"), [(1, 1), (2, 2), (3, 2)])
async def test_what_a_device_asks_for_again_anyway_is_tried_so_many_times(failures: int, told: int) -> None:
    attempts = Attempts(*[FAILED] * failures)
    retrying: Callable[[Attempts], Awaitable[str]] = quick().briefly(3, attempts.tell)
    if failures < 3:
        assert await retrying(attempts) == "done"
    else:
        with pytest.raises(TransientError):
            await retrying(attempts)
    assert len(attempts.told) == told


# Waits


@pytest.mark.parametrize(
    ("failed", "longest"), [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6), (7, 12.8), (8, 20.0), (50, 20.0), (5000, 20.0)]
)
def test_a_wait_is_anywhere_between_0_and_a_bound_that_doubles(
    failed: int, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []
    monkeypatch.setattr("random.uniform", lambda low, high: drawn.append((low, high)) or high)
    assert RetryPolicy(asyncio.Event(), base=0.2, cap=20.0).wait(failed) == pytest.approx(longest)
    assert drawn == [(0, pytest.approx(longest))]


# Giving up


@dataclass
class Case:
    """A call that began to fail at second 0, when the service had been healthy for 1,000 s; limit 300 s."""

    health: ServiceUptime = field(default_factory=lambda: ServiceUptime(60.0, 1000.0, 1000))
    failing: FailureRecord = field(default_factory=lambda: FailureRecord(0.0, 1000.0, 1000))
    share: float = 0.0

    def given_up(self, now: float, error: CloudError = FAILED) -> bool:
        self.failing.attempts += 1
        return quick().gives_up(self.failing, error, self.health, self.share, now)

    def others(self, successes: int, seconds: float = 0.0) -> None:
        self.health.successes += successes
        self.health.seconds += seconds


def test_during_an_outage_nothing_is_given_up() -> None:
    case = Case()
    assert not any(case.given_up(second) for second in range(0, 10_000, 20))


def test_a_call_that_fails_while_others_succeed_is_given_up() -> None:
    case = Case()
    case.others(100, 299.0)
    assert not case.given_up(1000)
    case.others(1, 1.0)
    assert not case.given_up(299)
    assert case.given_up(300)


def test_what_an_operator_must_mend_is_not() -> None:
    case = Case()
    case.others(100, 10_000)
    assert not case.given_up(100_000, OPERATOR)


def test_one_that_others_wait_behind_is_given_up_after_some_attempts() -> None:
    case = Case()
    case.others(1)
    case.failing.presses = True
    assert [case.given_up(1) for _ in range(8)] == [False] * 7 + [True]


def test_and_after_one_where_it_was_given_up_before() -> None:
    case = Case()
    case.others(1)
    case.failing.presses = case.failing.given_up = True
    assert case.given_up(1)


@pytest.mark.parametrize(("share", "error", "successes"), [(0.11, FAILED, 1), (0.0, OPERATOR, 1), (0.0, FAILED, 0)])
def test_but_not_where_it_may_be_the_service(share: float, error: CloudError, successes: int) -> None:
    """Others fail too; an operator must act; or none got through since."""
    case = Case(share=share)
    case.others(successes)
    case.failing.presses = True
    assert not any(case.given_up(1, error) for _ in range(100))


@pytest.mark.parametrize("error", [FAILED, OPERATOR])
def test_nobody_waits_behind_one_for_longer_than_the_limit(error: CloudError) -> None:
    """Health cannot grow: what others sent waits for the one."""
    case = Case(share=0.5)
    case.others(1)
    case.failing.presses = True
    assert not case.given_up(299, error)
    assert case.given_up(300, error)


def test_health_grows_between_successes_and_stands_still_in_an_outage() -> None:
    health = ServiceUptime(gap=60.0, _last=1000.0)
    clock, seen = 1000.0, []
    for pause in (0, 10, 30, 3600, 5):
        clock += pause
        health.succeeded(clock)
        seen.append(health.seconds)
    assert (seen, health.successes) == ([0, 10, 40, 100, 105], 5)


async def test_one_success_cannot_condemn_a_call() -> None:
    for limit in (1.0, 100.0, 300.0):
        assert quick(limit).health().gap <= min(60.0, limit / 2)


# The end


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> RetryPolicy:
    """A policy whose waits last an hour."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    return RetryPolicy(asyncio.Event(), base=3600.0, cap=3600.0)


async def test_a_stop_ends_a_wait(slow: RetryPolicy) -> None:
    def tell(error: BaseException, attempts: int) -> None:
        asyncio.get_running_loop().call_soon(slow.stopping.set)

    with pytest.raises(ShuttingDown):
        await slow.connecting(tell)(Attempts(BROKER))


async def test_after_a_stop_nothing_is_tried_again(slow: RetryPolicy) -> None:
    slow.stopping.set()
    attempts = Attempts(BROKER, BROKER)
    with pytest.raises(ShuttingDown):
        await run(slow, attempts)
    assert len(attempts.errors) == 1


async def test_after_a_stop_a_first_attempt_still_counts(slow: RetryPolicy) -> None:
    slow.stopping.set()
    assert await run(slow, Attempts()) == "done"
