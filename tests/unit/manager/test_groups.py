"""Calls in groups: what comes while a group is worked on is the next one, and each call gets its own answer."""

import asyncio
import threading

import pytest

from gateway.manager import groups
from gateway.manager.errors import StoreUnavailable
from gateway.manager.groups import GroupThread, Later
from tests.support.arrivals import DEADLINE_S


class Work:
    """Doubles each number, once it may; remembers the groups."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.may = threading.Event(), threading.Event()

    def __call__(self, numbers: list[int]) -> list[int | Exception]:
        self.groups.append(numbers)
        self.begun.set()
        assert self.may.wait(DEADLINE_S)
        if 13 in numbers:
            raise LookupError("thirteen")
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


async def test_what_comes_meanwhile_is_the_next_group() -> None:
    work = Work()
    thread = GroupThread("test", work)
    first = thread.submit(1)
    await asyncio.to_thread(work.begun.wait, DEADLINE_S)
    others = [thread.submit(number) for number in (2, 3, 4)]
    work.may.set()
    async with asyncio.timeout(DEADLINE_S):
        assert [await each for each in (first, *others)] == [2, 4, 6, 8]
    assert work.groups == [[1], [2, 3, 4]]
    await thread.close()


async def test_a_call_is_counted_before_it_is_answered() -> None:
    counting, may = threading.Event(), threading.Event()

    def count(*_: object) -> None:
        counting.set()
        assert may.wait(DEADLINE_S)

    thread = GroupThread("test", lambda numbers: numbers, count)
    call = thread.submit(1)
    await asyncio.to_thread(counting.wait, DEADLINE_S)
    assert not call.done()
    may.set()
    async with asyncio.timeout(DEADLINE_S):
        assert await call == 1
    await thread.close()


async def test_one_call_may_fail_alone() -> None:
    work = Work()
    thread = GroupThread("test", work)
    thread.submit(0)
    await asyncio.to_thread(work.begun.wait, DEADLINE_S)
    good, bad = thread.submit(1), thread.submit(-1)
    work.may.set()
    async with asyncio.timeout(DEADLINE_S):
        assert await good == 2
        with pytest.raises(ValueError, match="-1"):
            await bad
    await thread.close()


async def test_what_the_work_raises_each_call_of_the_group_gets_and_the_next_group_is_worked_on() -> None:
    work = Work()
    work.may.set()
    thread = GroupThread("test", work)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(LookupError):
            await thread.submit(13)
        assert await thread.submit(1) == 2
    await thread.close()


async def test_a_caller_that_has_gone_disturbs_no_other() -> None:
    work = Work()
    thread = GroupThread("test", work)
    gone, stays = thread.submit(1), thread.submit(2)
    gone.cancel()
    work.may.set()
    async with asyncio.timeout(DEADLINE_S):
        assert await stays == 4
    await thread.close()


async def test_it_ends_after_the_calls_that_wait() -> None:
    work = Work()
    thread = GroupThread("test", work)
    calls = [thread.submit(number) for number in range(3)]
    work.may.set()
    async with asyncio.timeout(DEADLINE_S):
        await thread.close()
        assert [await each for each in calls] == [0, 2, 4]


async def test_a_group_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MOST", 4)
    work = Work()
    thread = GroupThread("test", work)
    calls = [thread.submit(0)]
    await asyncio.to_thread(work.begun.wait, DEADLINE_S)
    calls += [thread.submit(number) for number in range(10)]
    work.may.set()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*calls)
    assert [len(each) for each in work.groups] == [1, 4, 4, 2]
    await thread.close()


async def test_thousands_of_calls_of_an_idle_and_a_busy_thread_are_all_answered() -> None:
    thread = GroupThread("test", lambda numbers: [2 * number for number in numbers])
    async with asyncio.timeout(DEADLINE_S):
        for number in range(500):
            assert await thread.submit(number) == 2 * number
        assert await asyncio.gather(*map(thread.submit, range(5000))) == [2 * number for number in range(5000)]
    await thread.close()


async def test_calls_that_wait_while_the_database_is_found_away_are_not_tried_as_well() -> None:
    """Each group may take seconds to find that out."""
    begun, goes_on, tried = threading.Event(), threading.Event(), []

    def work(group: list[int]) -> list[int]:
        tried.append(group)
        begun.set()
        goes_on.wait(DEADLINE_S)
        if len(tried) == 1:
            raise StoreUnavailable("away")
        return group

    thread = GroupThread("work", work)
    first = thread.submit(1)
    await asyncio.to_thread(begun.wait, DEADLINE_S)
    waiting = [thread.submit(number) for number in (2, 3)]
    goes_on.set()
    for each in (first, *waiting):
        with pytest.raises(StoreUnavailable):
            await each
    assert await thread.submit(4) == 4
    assert tried == [[1], [4]]
    await thread.close()


async def test_a_call_goes_on_in_the_next_thread_and_comes_back() -> None:
    done: list[int] = []

    def answer(group: list[int]) -> list[int | Later]:
        return [number if number in done else Later.LATER for number in group]

    def prepare(group: list[int]) -> list[Later]:
        done.extend(group)
        return [Later.LATER] * len(group)

    answers: GroupThread[int, int] = GroupThread("answers", answer)
    prepares: GroupThread[int, int] = GroupThread("prepares", prepare)
    answers.following, prepares.following = prepares, answers
    assert await asyncio.gather(*(answers.submit(number) for number in range(10))) == list(range(10))
    await prepares.close()
    await answers.close()
