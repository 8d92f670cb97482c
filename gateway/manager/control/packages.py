"""Edge packaging jobs, which say what file a model's version is."""

from gateway.manager.control.calls import Operation

OPERATIONS: dict[str, Operation] = {}
