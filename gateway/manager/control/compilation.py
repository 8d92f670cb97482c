"""Compilation jobs that compile nothing: the file that a job names is taken as it is."""

from gateway.manager.control.calls import Operation

OPERATIONS: dict[str, Operation] = {}
