"""Jobs of a store, whose steps a test takes by itself."""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.manager import Place
from gateway.manager.control import ArnScope, Caller, ControlApi, JobRunner
from gateway.manager.control import jobs as running_jobs
from gateway.manager.store import ObjectStore, ObjectWriter, Store
from gateway.manager.store.tables import OBJECT_PIECES, OBJECTS
from tests.support.jobs import compilation, packaging

NOW = 1_700_000_000.0
LATER = NOW + running_jobs.HELD + 1
PLACE = {"Bucket": "models", "Key": "out/p/wake-word-1.2.tflite"}
ARTIFACT = "s3://models/out/p/wake-word-1.2.tflite"
"""Of the packaging job p."""


class Jobs:
    """The control plane of a store, and the runner of one process, whose steps the test takes."""

    def __init__(self, place: Place, store: Store) -> None:
        self._place = place
        self._store = store
        self.objects = ObjectStore(place.data, store)
        self._api = ControlApi(store, self.objects, ArnScope())
        self.objects.make_bucket("models")
        self.runner = self.another()

    def another(self) -> JobRunner:
        """As another process has it."""
        return JobRunner(self._store, self.objects)

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        output = self._api.handle(f"SageMaker.{operation}", json.dumps(members).encode(), Caller(), NOW)
        found: dict[str, Any] = json.loads(output)
        return found

    def start(self, url: str, **more: Any) -> None:
        """A package p of that file, whose compilation job is done. `more`: of CreateEdgePackagingJob."""
        self.call("CreateCompilationJob", **compilation("c", url))
        assert self.runner.step(NOW)
        self.call("CreateEdgePackagingJob", **packaging("p", "c", **more))

    def described(self, member: str) -> str:
        found: str = self.call("DescribeEdgePackagingJob", EdgePackagingJobName="p")[member]
        return found

    def status(self) -> str:
        return self.described("EdgePackagingJobStatus")

    def message(self) -> str:
        return self.described("EdgePackagingJobStatusMessage")

    def artifact(self) -> bytes | None:
        """What is in the model store under the package's key."""
        bucket, key = PLACE.values()
        found = self.objects.find(bucket, key)
        content = bytearray()
        if found is not None:
            self.objects.read_into(content.extend, bucket, found)
        return None if found is None else bytes(content)

    def leave(self, content: bytes, job: str, key: str = PLACE["Key"]) -> None:
        """A copy, as a process left it that was killed before it changed the row."""
        writer = ObjectWriter(self.objects)
        writer.write(content)
        writer.finish("models", key, {running_jobs.MADE_BY: job})
        writer.close()

    def left_overs(self) -> list[str]:
        """What is of no object: temporary files, and pieces without a row."""
        files = [path.name for path in Path(self._place.data, "objects", ".incoming").glob("*")]
        select = sa.select(OBJECT_PIECES.c.object).where(OBJECT_PIECES.c.object.not_in(sa.select(OBJECTS.c.id)))
        pieces = self._store.read(lambda transaction: transaction.connection.scalars(select).all())
        return files + [str(each) for each in pieces]
