"""The retry policy: what is tried again, how long the waits may be, who is given up when, and that a stop ends it."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from tenacity import RetryCallState

from gateway.errors import BrokerError, CallFailed, CallRefused, CloudError, OperatorNeeded
from gateway.retry import Health, RetryPolicy, ShuttingDown

FAILED = CallFailed("ThrottlingException", "slow down")
OPERATOR = OperatorNeeded("AccessDenied", "no")
REFUSED = CallRefused("ValidationException", "no")
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


async def run(policy: RetryPolicy, attempts: Attempts, health: Health | None = None) -> str:
    retrying: Callable[[Attempts], Awaitable[str]] = policy.call(health or policy.health(), attempts.tell)
    return await retrying(attempts)


async def test_what_may_pass_is_tried_again_and_told_each_time() -> None:
    attempts = Attempts(FAILED, OPERATOR, FAILED)
    assert await run(quick(), attempts) == "done"
    assert attempts.told == [(FAILED, 1), (OPERATOR, 2), (FAILED, 3)]


@pytest.mark.parametrize("error", [REFUSED, CloudError("x", ""), ValueError("a fault of ours"), BrokerError("no")])
async def test_what_cannot_pass_is_raised_as_it_is_at_once(error: Exception) -> None:
    attempts = Attempts(FAILED, error, FAILED)
    with pytest.raises(type(error)) as caught:
        await run(quick(), attempts)
    assert caught.value is error
    assert (len(attempts.told), len(attempts.errors)) == (1, 1)


async def test_a_connection_is_tried_for_ever() -> None:
    attempts = Attempts(*[BrokerError(str(number)) for number in range(200)])
    assert await quick(give_up_after=0.0).connecting(attempts.tell)(attempts) == "done"
    assert [count for _, count in attempts.told] == list(range(1, 201))


async def test_only_the_broker_is_tried_again_when_connecting() -> None:
    with pytest.raises(CallFailed):
        await quick().connecting(lambda error, count: None)(Attempts(FAILED))


# Waits


@pytest.mark.parametrize(
    ("failed", "longest"), [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6), (7, 12.8), (8, 20.0), (50, 20.0), (5000, 20.0)]
)
async def test_a_wait_is_anywhere_between_0_and_a_bound_that_doubles(
    failed: int, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []
    monkeypatch.setattr("random.uniform", lambda low, high: drawn.append((low, high)) or high)
    retrying = RetryPolicy(asyncio.Event(), base=0.2, cap=20.0).call(Health(60.0), lambda error, count: None)
    state = RetryCallState(retrying, None, (), {})
    state.attempt_number = failed
    assert retrying.wait(state) == pytest.approx(longest)
    assert drawn == [(0, pytest.approx(longest))]


# Giving up


async def test_during_an_outage_nothing_is_given_up() -> None:
    policy = quick(give_up_after=NO_TIME)
    attempts = Attempts(*[FAILED] * 100)
    assert await run(policy, attempts, policy.health()) == "done"


async def test_a_call_that_fails_while_others_succeed_is_given_up_with_its_last_error() -> None:
    policy = quick(give_up_after=NO_TIME)
    health = policy.health()
    last = CallFailed("503", "the last")
    attempts = Attempts(FAILED, FAILED, last, FAILED, meanwhile=lambda: None)
    rounds = itertools.count(1)

    def another_succeeds() -> None:
        health.seconds += next(rounds) == 3

    attempts.meanwhile = another_succeeds
    with pytest.raises(CallFailed) as caught:
        await run(policy, attempts, health)
    assert caught.value is last
    assert len(attempts.errors) == 1


async def test_health_from_before_the_call_condemns_nobody() -> None:
    policy = quick(give_up_after=NO_TIME)
    health = policy.health()
    health.seconds = 1e9
    assert await run(policy, Attempts(*[FAILED] * 20), health) == "done"


async def test_what_an_operator_must_mend_is_never_given_up() -> None:
    policy = quick(give_up_after=NO_TIME)
    health = policy.health()

    def another_succeeds() -> None:
        health.seconds += 1000

    attempts = Attempts(*[OPERATOR] * 20, meanwhile=another_succeeds)
    assert await run(policy, attempts, health) == "done"


def test_health_grows_between_successes_and_stands_still_in_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    health = Health(gap=60.0, _last=clock)
    seen = []
    for pause in (0, 10, 30, 3600, 5):
        clock += pause
        health.succeeded()
        seen.append(health.seconds)
    assert seen == [0, 10, 40, 100, 105]


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
        await slow.call(slow.health(), tell)(Attempts(FAILED))


@pytest.mark.parametrize("error", [FAILED, OPERATOR])
async def test_after_a_stop_nothing_is_tried_again(slow: RetryPolicy, error: CloudError) -> None:
    slow.stopping.set()
    attempts = Attempts(error, error)
    with pytest.raises(ShuttingDown):
        await run(slow, attempts)
    assert len(attempts.errors) == 1


async def test_after_a_stop_a_first_attempt_still_counts(slow: RetryPolicy) -> None:
    slow.stopping.set()
    assert await run(slow, Attempts()) == "done"


async def test_a_stop_ends_connecting(slow: RetryPolicy) -> None:
    slow.stopping.set()
    with pytest.raises(ShuttingDown):
        await slow.connecting(lambda error, count: None)(Attempts(BrokerError("no")))
