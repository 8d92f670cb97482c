"""Edge deployment plans and their stages, over the rollouts that exist."""

from gateway.manager.control.calls import Operation

OPERATIONS: dict[str, Operation] = {}
