from typing import Any

from .agent import Agent
from .heartbeat import Packer

FILES: int
"""How many files there are."""

def parse(line: bytes) -> list[Any] | None:
    """The record in a line; None: it is not whole."""

class Backlog(Agent):
    accepted: int
    """Samples that the cloud has accepted since the boot."""
    wanted: int | None
    """The seq whose ack is awaited; None: none is."""
    batch: int
    """How many samples, the oldest ones, were sent under it."""
    more: int
    """Above 0: other samples did not fit."""
    last: int | None
    """The last seq that was sent."""
    tries: int
    """How often these samples were sent."""
    skip: int
    """Heartbeats until they are sent again."""
    first: int
    """Number of the oldest file; above `newest`: there is none."""
    newest: int
    """Number of the newest file."""
    size: int
    """Bytes of the newest file."""
    begin: int
    """Where in the oldest file what waits begins."""
    end: int
    """Where in file `source` what was read of it ends."""
    source: int
    """Number of the file that was read last."""
    path: str | None
    """What the names of the files begin with; None: there are none."""
    limit: int
    """Bytes of one file."""
    rows: list[list[Any] | None]
    """Where samples go in `hb`: of the device, then of each model."""
    form: int
    """CRC of the layout."""
    other: list[Any]
    """The ring that is not in use: items, count, index."""
    boot: int
    """A random number of this boot."""
    def __init__(self, *arguments: Any, path: str | None = None, limit: int = 16384, **more: Any) -> None: ...
    def start(self, *arguments: Any) -> None:
        """As that of Agent. It looks for files of earlier boots."""
    @property
    def busy(self) -> bool: ...
    def sample(self, name: str, value: float, now: int | None = None) -> None: ...
    def update(self, now: int) -> None: ...
    def save(self, sleep: float | None) -> None: ...
    def pop(self, n: int) -> None:
        """As that of Heartbeat."""
    def pack(self, p: Packer, now: int) -> None: ...
    def ack(self, value: list[Any]) -> None:
        """As that of Agent; drops the samples that the ack is about."""
    def swap(self) -> None:
        """Exchanges the two rings."""
    def name(self, n: int) -> str:
        """Name of the file with this number."""
    def next(self, n: int, at: int) -> tuple[list[Any] | bool | None, int]:
        """The next whole record of a file at or behind the byte `at`, and where it ends. None: there is none; False:
        the file could not be read.
        """
    def remove(self, n: int) -> None:
        """Removes a file."""
    def failed(self, error: Exception) -> bool | None:
        """Notes an error of the flash, but not that there is no such file."""
    def shifted(self, record: list[Any]) -> int | None:
        """What to add to the times of a record for those of this boot; None: not known, or not yet."""
    def load(self) -> None:
        """Reads the oldest records into the other ring."""
    def drop(self) -> None:
        """Removes the oldest file."""
    def lose(self) -> None:
        """Removes the oldest file, and counts what it had as lost."""
    def spill(self) -> None:
        """Moves the samples of the ring to the files."""
    def append(self, text: str) -> None:
        """Writes a record to the newest file, or to a new one where it is full."""
