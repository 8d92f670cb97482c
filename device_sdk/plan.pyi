from collections.abc import Callable
from typing import Any

UNDEPLOY: int
DEPLOY: int
ROLLBACK_ON_FAILURE: int
DO_NOTHING: int

class Definition:
    handle: str | None
    state: int | str | None
    checksum: bytes | str | None
    size: int | None
    url: str | None
    checksum_type: str | None
    name: str | None
    version: str | None
    def __init__(self, values: list[Any]) -> None: ...

_Deployment = tuple[str | None, int | str | None, list[Any], str | None, int]

def decode(
    buf: bytes | bytearray | memoryview, start: int = 0, end: int | None = None
) -> tuple[int, list[_Deployment]]: ...
def carry_out(
    deployment: _Deployment, install: Callable[[Definition], object], remove: Callable[[Definition], object]
) -> tuple[str, str | None, list[list[Any]]]: ...

class Plans:
    have: int
    results: list[list[Any]]
    def __init__(self, install: Callable[[Definition], object], remove: Callable[[Definition], object]) -> None: ...
    def dump(self) -> list[Any]: ...
    def load(self, values: list[Any], moved: int | None) -> None: ...
    def receive(self, buf: bytes | bytearray | memoryview, start: int = 0, end: int | None = None) -> None: ...
    def work(self, time: int) -> bool: ...
