"""Carries out compilation and packaging jobs in the background: looks for files, and copies what a package is to be.

A step is short, however large the file is: a copy that is not whole goes with the process, and one that follows begins
anew. One process at a time works on them (`store.Turn`). A job that was stopped meanwhile stays stopped, and what it
wrote is removed.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.errors import explain
from gateway.manager.control.arns import compilation_resource
from gateway.manager.control.artifacts import MOST, artifact_place
from gateway.manager.control.other_s3 import OtherS3, S3Away, S3Changed, S3Refused
from gateway.manager.control.sources import ModelSource, ModelSources, SourceFault
from gateway.manager.errors import S3Error
from gateway.manager.store import ObjectStore, ObjectWriter, Store, Transaction, Turn, TurnLost
from gateway.manager.store.control_tables import COMPILATION_JOBS, MADE, PACKAGES

HELD = 10.0
"""Seconds without a step after which another process carries out what this one began."""
CHUNKS = 32
"""Of a file that one step copies,"""
STEP = 1.0
"""in so many seconds."""
PATIENCE = 30.0
"""Seconds for which another S3 may be away."""
MESSAGE = 1024
"""Characters that the service model allows."""
MADE_BY = "x-amz-meta-edge-packaging-job"
"""The header of an object that says which job wrote it."""
_ENDED = ("FAILED", "STOPPED")


@dataclass(frozen=True, slots=True)
class Job:
    """The next one, a row of `table`. `url` of the file that it reads; `place`: bucket and key of the package, None: it
    has none; or `fault`: why it fails."""

    table: sa.Table
    id: int
    name: str
    status: str
    url: str = ""
    place: tuple[str, str] | None = None
    fault: str = ""

    @property
    def artifact(self) -> str:
        """The package's URL."""
        return "" if self.place is None else "s3://{}/{}".format(*self.place)


class _Copying:
    """The file of the package `package` on its way. `writer` None: it is where it is to be."""

    def __init__(self, package: int, source: ModelSource, writer: ObjectWriter | None) -> None:
        self.package = package
        self.writer = writer
        self.size = 0
        self.is_whole = False
        self._source = source
        self._digest = hashlib.sha1(usedforsecurity=False)

    @property
    def sha1(self) -> str:
        return self._digest.hexdigest()

    def go_on(self) -> None:
        """Reads on. Raises as `ModelSource.read` and `ObjectWriter.write` do."""
        end = time.monotonic() + STEP
        for _ in range(CHUNKS):
            data = self._source.read()
            if not data:
                self.is_whole = True
                break
            self._digest.update(data)
            self.size += len(data)
            if self.writer is not None:
                self.writer.write(data)
            if time.monotonic() >= end:
                break
        if self.writer is not None:
            self.writer.sync()

    def close(self) -> None:
        self._source.close()
        if self.writer is not None:
            self.writer.close()


class JobRunner:
    """The jobs of an open store. Raises StoreUnavailable. `other`: of which files may be taken too."""

    def __init__(self, store: Store, objects: ObjectStore, other: OtherS3 | None = None) -> None:
        self._store = store
        self._objects = objects
        self._sources = ModelSources(objects, other)
        self._turn = Turn("jobs", HELD)
        self._copying: _Copying | None = None
        self._waiting: tuple[Job, int, float] | None = None
        """The job whose S3 is away, how much of its file is read, and since when (Unix seconds)."""

    def close(self) -> None:
        """What is being copied is given up; a step would begin anew."""
        copying, self._copying = self._copying, None
        if copying is not None:
            copying.close()

    def step(self, now: float) -> bool:
        """One piece of the work at `now` (Unix seconds); True: there may be more."""
        seen, job = self._store.read(lambda each: (self._turn.seen(each.connection, now), _next(each.connection)))
        if seen is None or job is None:
            self.close()
            return False
        if self._copying is not None and (job.table, job.id) != (PACKAGES, self._copying.package):
            self.close()
        try:
            return self._try(job, seen, now)
        except TurnLost:
            self.close()
            return False
        except BaseException:
            self.close()
            raise

    def _try(self, job: Job, seen: float, now: float) -> bool:
        try:
            self._carry_out(job, seen, now)
            self._waiting = None
            return True
        except S3Away as error:
            return self._wait(job, seen, now, str(error))
        except S3Changed:
            self.close()
            self._change(job, seen, now)
            return True
        except SourceFault as error:
            why = f"{job.url} {error}"
        except S3Refused as error:
            why = f"{job.url} cannot be read: {error}"
        except S3Error as error:
            why = f"{job.artifact} cannot be written: {error.message}"
        except OSError as error:
            why = f"{job.url} cannot be copied: {explain(error)}"
        self.close()
        self._fail(job, seen, now, why)
        return True

    def _carry_out(self, job: Job, seen: float, now: float) -> None:
        if job.status in _ENDED:
            self._clean(job, seen, now)
        elif job.fault:
            self._fail(job, seen, now, job.fault)
        elif job.status == "STARTING":
            self._change(job, seen, now, status="INPROGRESS", url=job.url)
        elif job.table is COMPILATION_JOBS:
            self._sources.open(job.url).close()
            self._change(job, seen, now, status="COMPLETED")
        elif self._copying is not None and self._copying.is_whole:
            self._finish(job, self._copying, seen, now)
        else:
            self._copy_on(job, self._copying or self._begin(job), seen, now)

    def _begin(self, job: Job) -> _Copying:
        """Raises as `ModelSources.open` does, and S3Error where the package has no place."""
        source = self._sources.open(job.url)
        try:
            if job.artifact != job.url:
                self._require_place(job)
            writer = None if job.artifact == job.url else ObjectWriter(self._objects)
        except BaseException:
            source.close()
            raise
        self._copying = _Copying(job.id, source, writer)
        return self._copying

    def _require_place(self, job: Job) -> None:
        if job.place is None:
            raise SourceFault("cannot be copied: OutputConfig.S3OutputLocation should be s3://BUCKET/PREFIX")
        bucket = job.place[0]
        if len(job.artifact) > MOST:
            raise SourceFault(f"cannot be copied: the URL of the package would have more than {MOST:,} characters")
        try:
            self._objects.require_bucket_to_put(bucket)
        except S3Error as error:
            todo = f"make it by `aws s3 mb s3://{bucket}`, and make another packaging job"
            raise S3Error(error.code, f"this manager's model store has no bucket {bucket}: {todo}", 404) from error

    def _copy_on(self, job: Job, copying: _Copying, seen: float, now: float) -> None:
        copying.go_on()
        if copying.is_whole or abs(now - seen) > HELD / 3:
            self._change(job, seen, now)

    def _finish(self, job: Job, copying: _Copying, seen: float, now: float) -> None:
        """First the object, then the row: where a process is killed between the two, the next one writes it again."""
        if not copying.size:
            raise SourceFault("is empty: a model file is expected")
        if copying.writer is not None and job.place is not None:
            copying.writer.finish(*job.place, {MADE_BY: job.name})
        made = {"url": job.artifact, "size": copying.size, "sha1": copying.sha1}
        self._change(job, seen, now, status=MADE, **made)
        self.close()

    def _clean(self, job: Job, seen: float, now: float) -> None:
        """Removes what a job wrote that was stopped, or failed after a process was killed."""
        self.close()
        if job.place is not None:
            bucket, key = job.place
            found = self._objects.find(bucket, key)
            if found is not None and found.facts.headers.get(MADE_BY) == job.name:
                self._objects.delete_others(bucket, [key])
        self._change(job, seen, now, url=None)

    def _wait(self, job: Job, seen: float, now: float, why: str) -> bool:
        """False: until the next round; the job fails once its S3 was away for too long."""
        done = 0 if self._copying is None else self._copying.size
        if self._waiting is None or self._waiting[:2] != (job, done):
            self._waiting = job, done, now
        if abs(now - self._waiting[2]) < PATIENCE:
            self._change(job, seen, now)
            return False
        self.close()
        self._waiting = None
        self._fail(job, seen, now, f"{job.url} cannot be read, also not after {PATIENCE:.0f} s: {why}")
        return True

    def _fail(self, job: Job, seen: float, now: float, why: str) -> None:
        self._change(job, seen, now, status="FAILED", message=why[:MESSAGE])

    def _change(self, job: Job, seen: float, now: float, **values: Any) -> None:
        """Changes the row, unless the job was stopped, and takes the turn anew. Raises TurnLost."""
        row = (job.table.c.id == job.id) & (job.table.c.status == job.status)
        changed = {"changed": now} if "status" in values else {}

        def work(transaction: Transaction) -> None:
            self._turn.take(transaction.connection, seen, now)
            if values:
                transaction.connection.execute(sa.update(job.table).where(row).values(values | changed))

        self._store.write(work)


def _next(connection: sa.Connection) -> Job | None:
    """First the package that is being made, then a compilation job, then a package that waited for one, then what ended
    packages may have left."""
    row = _oldest(connection, PACKAGES, PACKAGES.c.status == "INPROGRESS")
    if row is not None:
        return _packaging(row, row.url)
    row = _oldest(connection, COMPILATION_JOBS, COMPILATION_JOBS.c.status == "INPROGRESS")
    if row is not None:
        url = json.loads(row.request)["InputConfig"]["S3Uri"]
        return Job(COMPILATION_JOBS, row.id, row.name, row.status, url)
    row = _oldest(connection, PACKAGES, PACKAGES.c.status == "STARTING")
    if row is not None:
        return _starting(connection, row)
    row = _oldest(connection, PACKAGES, PACKAGES.c.status.in_(_ENDED) & PACKAGES.c.url.is_not(None))
    return None if row is None else _packaging(row, row.url)


def _starting(connection: sa.Connection, row: sa.Row[Any]) -> Job:
    name = json.loads(row.request)["CompilationJobName"]
    compiled = connection.execute(sa.select(COMPILATION_JOBS).where(COMPILATION_JOBS.c.name == name)).one_or_none()
    if compiled is None:
        return Job(PACKAGES, row.id, row.name, row.status, fault=f"{compilation_resource(name)} was deleted")
    if compiled.status != "COMPLETED":
        fault = f"{compilation_resource(name)} is {compiled.status}"
        fault = ": ".join(filter(None, (fault, compiled.message)))
        return Job(PACKAGES, row.id, row.name, row.status, fault=fault)
    return _packaging(row, json.loads(compiled.request)["InputConfig"]["S3Uri"])


def _packaging(row: sa.Row[Any], source: str) -> Job:
    location = json.loads(row.request)["OutputConfig"]["S3OutputLocation"]
    place = artifact_place(location, row.name, row.model, row.version, source)
    return Job(PACKAGES, row.id, row.name, row.status, source, place)


def _oldest(connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool]) -> sa.Row[Any] | None:
    return connection.execute(sa.select(table).where(which).order_by(table.c.id).limit(1)).first()
