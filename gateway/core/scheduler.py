"""Limits the service calls in flight. Devices without a free slot wait in a FIFO queue, each at most once.

What a device sends meanwhile waits in its state, and is merged into the call that it makes then.
"""

from collections import deque

from gateway.core.device_state import DeviceState

UNLIMITED = 1 << 16


class CallScheduler:
    """`limit`: calls in flight at most; 0: none starts, those in flight end. `in_flight`: calls now."""

    def __init__(self, limit: int = UNLIMITED) -> None:
        self.limit = limit
        self.in_flight = 0
        self.queue: deque[DeviceState] = deque()

    def may_start(self, state: DeviceState, has_slot: bool) -> bool:
        """Whether the device may call now; else it is queued. `has_slot`: it need not wait behind the queue."""
        if self.in_flight < self.limit and (has_slot or not self.queue):
            return True
        if not state.queued_for_slot:
            state.queued_for_slot = True
            self.queue.append(state)
        return False

    def next(self) -> DeviceState | None:
        """The device for which a slot is free, taken out of the queue; None where there is none."""
        if not self.queue or self.in_flight >= self.limit:
            return None
        state = self.queue.popleft()
        state.queued_for_slot = False
        return state
