"""Lets what follows a list's publications wait until the broker has confirmed them all."""

from collections.abc import Callable


class PublishBarrier:
    """Counts what is under way; `then` is the way to act after it."""

    def __init__(self) -> None:
        self._open = 0
        self._following: list[Callable[[], None]] = []

    def expect(self) -> None:
        """One more publication is under way."""
        self._open += 1

    def came(self) -> None:
        """One of them was confirmed."""
        self._open -= 1
        if not self._open:
            following, self._following = self._following, []
            for action in following:
                action()

    def then(self, action: Callable[[], None]) -> None:
        """Do it now, or once nothing is under way any more."""
        if self._open:
            self._following.append(action)
        else:
            action()
