"""Where the manager keeps its data. It loads no database, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA = Path("edge-manager-data")
"""The data directory of `serve` and the other commands where none is given: in the current directory."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the database is: at a PostgreSQL URL, else in `manager.sqlite3` of the directory `data`.

    The model files are in that directory in either case.
    """

    data: Path = DEFAULT_DATA
    url: str | None = None
