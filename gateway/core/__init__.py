"""What a message or an answer of the service means: effects, which the dispatcher executes. Performs no I/O."""

from gateway.core.engine import Engine, Policy

__all__ = ["Engine", "Policy"]
