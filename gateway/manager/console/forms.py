"""What a viewer typed into a form, and what is wrong with it: the mistakes of all fields at once, each by its field."""

from collections.abc import Callable
from typing import TypeVar

from gateway.manager.errors import ManagerError, OptionError, StoreUnavailable

T = TypeVar("T")


class Mistakes(dict[str, str]):
    """Field -> what is wrong with it; empty: the form as a whole."""

    def found_in(self, field: str, check: Callable[[], T]) -> T | None:
        """What the check of that field returns; None: it is wrong, and the mistake is kept.

        An option of a command is the field of that name: `--stop-at` is stop_at. Raises StoreUnavailable.
        """
        try:
            return check()
        except StoreUnavailable:
            raise
        except OptionError as error:
            self[error.option.removeprefix("--").replace("-", "_")] = error.fault
        except ManagerError as error:
            self[field] = str(error)
        return None
