"""The calls of an operator on the manager's machine: the operations over its database, whether `serve` runs or not."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.manager.client.client import ManagerClient
from gateway.manager.control import ArnScope, Caller, ControlApi
from gateway.manager.errors import ApiError, ManagerError
from gateway.manager.place import Place
from gateway.manager.store import ObjectStore, local_address, open_store


class LocalClient(ManagerClient):
    """`read_only`: the database may be on a disk that is full or read-only. Raises ManagerError where there is none."""

    def __init__(self, place: Place, *, read_only: bool = False) -> None:
        self.store = open_store(place, create=False, read_only=read_only)
        self._objects = ObjectStore(place.data, self.store)
        self._api = ControlApi(self.store, self._objects, ArnScope())

    def close(self) -> None:
        self.store.close()

    def sagemaker(self, operation: str, **members: Any) -> Mapping[str, Any]:
        return self._handle(f"SageMaker.{operation}", members)

    def store_file(self, file: Path, bucket: str, handle: str) -> str:
        return self._objects.put_file(file, bucket, handle).url

    def _send(self, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._handle(f"EdgeManager.{operation}", members)

    def _handle(self, target: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        caller = Caller(address=local_address())
        try:
            output = self._api.handle(target, json.dumps(members).encode(), caller, time.time())
        except ApiError as error:
            raise ManagerError(error.message) from error
        found: Mapping[str, Any] = json.loads(output)
        return found
