"""GetDeviceFleetReport: how many devices of a fleet are connected, and run which agent and models."""

from gateway.manager.control.calls import Operation

OPERATIONS: dict[str, Operation] = {}
