"""A fake Edge Manager that notes each request and answers by a list. No test of its own; checks nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support import edge_manager
from tests.support.edge_manager import FakeEdgeManager, Reply


@dataclass(frozen=True, slots=True)
class Request:
    """What is compared of two requests: the JSON body field by field, and where it was sent as what."""

    method: str
    path: str
    kind: str | None
    body: Any


class ScriptedEdgeManager(FakeEdgeManager):
    """`answers` are given one after another, to a path of `always` that one; else an empty 200, as for a heartbeat."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Reply] = []
        self.always: dict[str, Reply] = {}
        self.requests: list[Request] = []

    def reply_to(self, request: edge_manager.Request) -> Reply:
        self.requests.append(Request(request.method, request.path, request.header("Content-Type"), request.json))
        return self.always.get(request.path) or (self.answers.pop(0) if self.answers else Reply(body=""))


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedEdgeManager]:
    """One that listens."""
    service = ScriptedEdgeManager()
    await service.open()
    try:
        yield service
    finally:
        await service.close()
