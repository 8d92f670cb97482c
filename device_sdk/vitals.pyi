from collections.abc import Callable

from .agent import Agent

reset_cause: Callable[[], int] | None
"""machine.reset_cause; None: this machine has none."""

def add(agent: Agent) -> None: ...
