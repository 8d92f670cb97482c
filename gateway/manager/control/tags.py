"""Tags of what has an ARN: AddTags, DeleteTags and ListTags."""

from gateway.manager.control.calls import Operation

OPERATIONS: dict[str, Operation] = {}
