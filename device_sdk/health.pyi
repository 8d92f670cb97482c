from collections.abc import Callable
from typing import Any

from .agent import Agent
from .heartbeat import Packer
from .plan import Definition

move: Callable[[Agent], None]
"""plan.replace itself."""

def replace(agent: Agent) -> None:
    """As plan.replace, but keeps the old files of an agent that has a Health."""

class Health:
    agent: Agent
    """The agent."""
    store: Callable[..., Any]
    """Keeps the trial over a loss of power; not the agent's store."""
    boots: int
    """How many starts may fail, the one that installed included."""
    begin: Callable[..., None]
    """The agent's own start."""
    keep: Callable[[int | None], None]
    """The agent's own save."""
    trial: list[Any] | None
    """[starts, crc, name, [[handle, state, state before], ...]] of the deployment that is not confirmed; None: there is
    none.
    """
    seen: bool
    """Whether that deployment has a result."""
    def __init__(self, agent: Agent, store: Callable[..., Any], boots: int = 3) -> None: ...
    def watch(self, call: Callable[[Definition], object], step: Definition) -> None:
        """Begins the trial, if it has not begun, and calls the callback."""
    def start(self, now: int, unix: int | None, tag: int, woke: bool, p: Packer | None = None) -> None: ...
    def save(self, sleep: int | None) -> None: ...
    def write(self, trial: list[Any]) -> None:
        """Saves the trial."""
    def end(self) -> None:
        """Ends the trial, if the result is confirmed, or says that nothing was changed."""
    def fail(self) -> None:
        """Gives the old files back, and makes the result."""
