from collections.abc import Callable

from .agent import Agent

reset_cause: Callable[[], int] | None

def add(agent: Agent) -> None: ...
