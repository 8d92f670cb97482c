"""What the two clients of a manager have in common. Performs no I/O itself."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.manager.models import from_members, output_shape

PAGE = 500
"""Entries of a page: the most that the service model allows."""


class ManagerClient(ABC):
    """Calls raise ManagerError, and StoreUnavailable where the manager or its database is away."""

    @abstractmethod
    def sagemaker(self, operation: str, **members: Any) -> Mapping[str, Any]:
        """A call of the control plane as AWS has it, and its output; times are Unix seconds or a datetime."""

    @abstractmethod
    def store_file(self, file: Path, bucket: str, handle: str) -> str:
        """Puts a model file into the model store under a key made of its handle and content. Its `s3://` URL."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _send(self, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """The output of an operation that AWS's API has not; times as of `sagemaker`."""

    def call(self, operation: str, **members: Any) -> Any:
        """An operation that AWS's API has not. A member that is None is not sent.

        The output in the spelling of `gateway.manager.reports`; what it leaves out is None.
        """
        given = {name: value for name, value in members.items() if value is not None}
        shape = output_shape(operation)
        return from_members(self._send(operation, given), shape)

    def items(self, operation: str, member: str, limit: int | None = None, **members: Any) -> Iterator[Any]:
        """The entries of a list, which are its output's `member`: `limit` at most, page by page as they are taken."""
        token = None
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(PAGE, limit)
            page = self.call(operation, **members, MaxResults=size, NextToken=token)
            yield from page[member]
            token = page["next_token"]
            if token is None:
                return
            limit = None if limit is None else limit - size
