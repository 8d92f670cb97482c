"""The background's tasks: one that is woken does not wait for its interval."""

import queue

from gateway.manager.background import Background, Task
from tests.support.arrivals import DEADLINE_S


def test_a_task_that_is_woken_runs_at_once() -> None:
    taken: queue.Queue[str] = queue.Queue()

    def step(name: str) -> bool:
        taken.put(name)
        return False

    background = Background([Task(each, 10_000.0, lambda now, each=each: step(each)) for each in ("one", "two")])
    background.start()
    try:
        assert {taken.get(timeout=DEADLINE_S) for _ in range(2)} == {"one", "two"}
        for _ in range(3):
            background.wake("two")
            assert taken.get(timeout=DEADLINE_S) == "two"
    finally:
        background.close()
    assert taken.empty()
