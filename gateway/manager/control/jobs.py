"""Carries out compilation and packaging jobs in the background: looks for files, and reads what a package is to say.

A step is short, however large the file is: what was read so far is kept in memory, and a process that follows begins
anew. One process at a time works on them (`store.Turn`). A job that was stopped meanwhile stays stopped.
"""

import hashlib
import json
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import sqlalchemy as sa

from gateway.errors import explain
from gateway.manager.control.arns import compilation_resource
from gateway.manager.errors import S3Error
from gateway.manager.store import CHUNK, ObjectStore, Store, StoredFile, Transaction, Turn, TurnLost
from gateway.manager.store.control_tables import COMPILATION_JOBS, PACKAGES

HELD = 3.0
"""Seconds without a step after which another process carries out what this one began."""
CHUNKS = 128
"""Of a file that one step reads."""
MESSAGE = 1024
"""Characters that the service model allows."""


@dataclass(frozen=True, slots=True)
class Job:
    """The next one, a row of `table`. `url` of its file; or `fault`: why it fails."""

    table: sa.Table
    id: int
    status: str
    url: str = ""
    fault: str = ""


class _Reading:
    """A file that is being read for the package `package`."""

    def __init__(self, package: int, file: BufferedReader) -> None:
        self.package = package
        self.file = file
        self.size = 0
        self._digest = hashlib.sha1(usedforsecurity=False)

    def read(self) -> str | None:
        """Reads on. The SHA-1 at the end of the file. Raises OSError."""
        for _ in range(CHUNKS):
            chunk = self.file.read(CHUNK)
            if not chunk:
                return self._digest.hexdigest()
            self._digest.update(chunk)
            self.size += len(chunk)
        return None


class JobRunner:
    """The jobs of an open store. Raises StoreUnavailable."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects
        self._turn = Turn("jobs", HELD)
        self._reading: _Reading | None = None

    def close(self) -> None:
        """What is being read is given up; a step would begin anew."""
        if self._reading is not None:
            self._reading.file.close()
            self._reading = None

    def step(self, now: float) -> bool:
        """One piece of the work at `now` (Unix seconds); True: there may be more."""
        seen, job = self._store.read(lambda each: (self._turn.seen(each.connection, now), _next(each.connection)))
        if seen is None or job is None:
            self.close()
            return False
        if self._reading is not None and (job.table, job.id) != (PACKAGES, self._reading.package):
            self.close()
        try:
            self._carry_out(job, seen, now)
        except TurnLost:
            self.close()
            return False
        return True

    def _carry_out(self, job: Job, seen: float, now: float) -> None:
        if job.fault:
            self._fail(job, seen, now, job.fault)
        elif job.status == "STARTING":
            self._change(job, seen, now, status="INPROGRESS", url=job.url)
        elif self._reading is not None:
            self._read_on(job, self._reading, seen, now)
        else:
            self._begin(job, seen, now)

    def _begin(self, job: Job, seen: float, now: float) -> None:
        found = self._find(job.url)
        if found is None:
            fault = "is not in the model store, or cannot be read: upload it, and make another job"
            self._fail(job, seen, now, f"{job.url} {fault}")
        elif isinstance(found, StoredFile):
            self._complete(job, seen, now, found.size, found.sha1)
        elif job.table is COMPILATION_JOBS:
            found.close()
            self._complete(job, seen, now)
        else:
            self._reading = _Reading(job.id, found)
            self._read_on(job, self._reading, seen, now)

    def _find(self, url: str) -> StoredFile | BufferedReader | None:
        """All that is asked of a file of the database, or the open file; None: it is not there."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        shared = None if self._objects.shared is None else self._objects.shared.find(bucket, key)
        if shared is not None:
            return StoredFile(url, shared.size, shared.sha1)
        try:
            return self._objects.open_file(bucket, key)
        except S3Error:
            return None

    def _read_on(self, job: Job, reading: "_Reading", seen: float, now: float) -> None:
        try:
            sha1 = reading.read()
        except OSError as error:
            self.close()
            self._fail(job, seen, now, f"{job.url} cannot be read: {explain(error)}")
            return
        if sha1 is not None:
            self.close()
            self._complete(job, seen, now, reading.size, sha1)
        elif abs(now - seen) > HELD / 3:
            self._change(job, seen, now)

    def _complete(self, job: Job, seen: float, now: float, size: int = 0, sha1: str = "") -> None:
        if job.table is COMPILATION_JOBS:
            self._change(job, seen, now, status="COMPLETED")
        elif size:
            self._change(job, seen, now, status="COMPLETED", size=size, sha1=sha1)
        else:
            self._fail(job, seen, now, f"{job.url} is empty: a model file is expected")

    def _fail(self, job: Job, seen: float, now: float, why: str) -> None:
        self._change(job, seen, now, status="FAILED", message=why[:MESSAGE])

    def _change(self, job: Job, seen: float, now: float, **values: Any) -> None:
        """Changes the row, unless the job was stopped, and takes the turn anew. Raises TurnLost."""
        row = (job.table.c.id == job.id) & (job.table.c.status == job.status)

        def work(transaction: Transaction) -> None:
            self._turn.take(transaction.connection, seen, now)
            if values:
                transaction.connection.execute(sa.update(job.table).where(row).values(values | {"changed": now}))

        self._store.write(work)


def _next(connection: sa.Connection) -> Job | None:
    """First the package that is being made, then a compilation job, then a package that waited for one."""
    row = _oldest(connection, PACKAGES, "INPROGRESS")
    if row is not None:
        return Job(PACKAGES, row.id, row.status, row.url)
    row = _oldest(connection, COMPILATION_JOBS, "INPROGRESS")
    if row is not None:
        return Job(COMPILATION_JOBS, row.id, row.status, json.loads(row.request)["InputConfig"]["S3Uri"])
    row = _oldest(connection, PACKAGES, "STARTING")
    if row is None:
        return None
    name = json.loads(row.request)["CompilationJobName"]
    compiled = connection.execute(sa.select(COMPILATION_JOBS).where(COMPILATION_JOBS.c.name == name)).one_or_none()
    if compiled is None:
        return Job(PACKAGES, row.id, row.status, fault=f"{compilation_resource(name)} was deleted")
    if compiled.status != "COMPLETED":
        fault = f"{compilation_resource(name)} is {compiled.status}"
        return Job(PACKAGES, row.id, row.status, fault=": ".join(filter(None, (fault, compiled.message))))
    return Job(PACKAGES, row.id, row.status, json.loads(compiled.request)["InputConfig"]["S3Uri"])


def _oldest(connection: sa.Connection, table: sa.Table, status: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(table).where(table.c.status == status).order_by(table.c.id).limit(1)).first()
