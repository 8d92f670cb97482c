"""The settings of one manager, checked at birth. It reads no environment and no file: cli.py does."""

from dataclasses import dataclass
from pathlib import Path

from gateway.manager.errors import ManagerError
from gateway.manager.http.signatures import Keys

DEFAULT_DATA = Path("edge-manager-data")
"""Where `serve` and the other commands look where nobody says otherwise: in the current directory."""


@dataclass(frozen=True, slots=True)
class Config:
    """`registered_ttl`, `unregistered_ttl`: CacheTTL of the two answers in seconds. `keys` None: all is accepted.

    Port 0 takes a free one. `max_body` bounds a request in bytes. Raises ManagerError where a value cannot work.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    keys: Keys | None = None
    registered_ttl: int = 300
    unregistered_ttl: int = 60
    max_body: int = 4 * 1024 * 1024
    power_safe: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ManagerError(f"port {self.port} is none: 0 (a free one) to 65535")
        for name in ("registered_ttl", "unregistered_ttl"):
            if getattr(self, name) < 0:
                raise ManagerError(f"{name} is {getattr(self, name)}: seconds, 0 or more")

    @property
    def objects(self) -> Path:
        """The directory of the model files."""
        return objects_directory(self.data)


def objects_directory(data: Path) -> Path:
    """Where the model files of the data directory `data` are kept."""
    return data / "objects"
