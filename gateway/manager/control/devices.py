"""Devices: RegisterDevices and its siblings."""

from gateway.manager.control.calls import Operation

OPERATIONS: dict[str, Operation] = {}
