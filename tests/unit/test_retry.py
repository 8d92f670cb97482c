"""The retry policy: what is retried, how long the waits may be, and that a stop ends them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.errors import BrokerError, PermanentError, TransientError
from gateway.retry import RetryPolicy, ShuttingDown

FAILED = TransientError("ThrottlingException", "slow down")
REJECTED = PermanentError("ValidationException", "no")
BROKER = BrokerError("nobody listens")
NO_TIME = 1e-9


def quick() -> RetryPolicy:
    """A policy whose waits are over at once."""
    return RetryPolicy(asyncio.Event(), base=NO_TIME, cap=NO_TIME)


class Attempts:
    """Raises these errors one after another, then succeeds. `reported`: what was reported before each wait."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.reported: list[tuple[BaseException, int]] = []

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def on_retry(self, error: BaseException, attempts: int) -> None:
        self.reported.append((error, attempts))


async def run(policy: RetryPolicy, attempts: Attempts) -> str:
    retrying: Callable[[Attempts], Awaitable[str]] = policy.connecting(attempts.on_retry)
    return await retrying(attempts)


async def test_a_connection_is_retried_without_a_limit() -> None:
    attempts = Attempts(*[BrokerError(str(number)) for number in range(200)])
    assert await run(quick(), attempts) == "done"
    assert [count for _, count in attempts.reported] == list(range(1, 201))


@pytest.mark.parametrize("error", [REJECTED, FAILED, ValueError("a defect of ours")])
async def test_another_error_is_raised_as_it_is_at_once(error: Exception) -> None:
    attempts = Attempts(BROKER, error, BROKER)
    with pytest.raises(type(error)) as caught:
        await run(quick(), attempts)
    assert caught.value is error
    assert (len(attempts.reported), len(attempts.errors)) == (1, 1)


@pytest.mark.parametrize(("failures", "reported"), [(1, 1), (2, 2), (3, 2)])
async def test_limited_retries_end_after_so_many_attempts(failures: int, reported: int) -> None:
    attempts = Attempts(*[FAILED] * failures)
    retrying: Callable[[Attempts], Awaitable[str]] = quick().limited(3, attempts.on_retry)
    if failures < 3:
        assert await retrying(attempts) == "done"
    else:
        with pytest.raises(TransientError):
            await retrying(attempts)
    assert len(attempts.reported) == reported


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


# The end


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> RetryPolicy:
    """A policy whose waits last an hour."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    return RetryPolicy(asyncio.Event(), base=3600.0, cap=3600.0)


async def test_a_stop_ends_a_wait(slow: RetryPolicy) -> None:
    def on_retry(error: BaseException, attempts: int) -> None:
        asyncio.get_running_loop().call_soon(slow.stopping.set)

    with pytest.raises(ShuttingDown):
        await slow.connecting(on_retry)(Attempts(BROKER))


async def test_after_a_stop_nothing_is_retried(slow: RetryPolicy) -> None:
    slow.stopping.set()
    attempts = Attempts(BROKER, BROKER)
    with pytest.raises(ShuttingDown):
        await run(slow, attempts)
    assert len(attempts.errors) == 1


async def test_after_a_stop_a_first_attempt_still_counts(slow: RetryPolicy) -> None:
    slow.stopping.set()
    assert await run(slow, Attempts()) == "done"
