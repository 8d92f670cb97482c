"""Who may call next: so many calls at once; a device that finds no room waits in a line, once, and holds nothing else.

A windowless part of the core. What waits in a mailbox meanwhile is merged when its turn comes.
"""

from collections import deque

from gateway.core.device_state import DeviceState

WIDE = 1 << 16
"""Calls at once, as long as nobody says otherwise."""


class CallScheduler:
    """`window`: calls at once at most. 0: none begins, those under way come to their end."""

    def __init__(self, window: int = WIDE) -> None:
        self.window = window
        self._calls = 0
        self._boxes: deque[DeviceState] = deque()

    def __len__(self) -> int:
        return len(self._boxes)

    def admits(self, box: DeviceState, turn: bool) -> bool:
        """Whether the device may call now; else it has its place in the line. `turn`: others need not come first."""
        if self._calls < self.window and (turn or not self._boxes):
            return True
        if not box.in_line:
            box.in_line = True
            self._boxes.append(box)
        return False

    def began(self) -> None:
        """A call is under way."""
        self._calls += 1

    def ended(self) -> None:
        """It is over."""
        self._calls -= 1

    def next(self) -> DeviceState | None:
        """Whose turn it is, taken out; None while there is no room."""
        if not self._boxes or self._calls >= self.window:
            return None
        box = self._boxes.popleft()
        box.in_line = False
        return box
