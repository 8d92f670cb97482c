"""Packages: which version of a model a file is. Edge packaging jobs make them, and the CLI's `deploy`."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from gateway.manager.errors import ManagerError
from gateway.manager.store import bulk
from gateway.manager.store.audit import Auditor
from gateway.manager.store.control_tables import MADE, PACKAGES, packaging_resource
from gateway.manager.store.object_store import StoredFile

DIGITS = 12
"""Of a SHA-1, where nobody named a version."""
PART = 5000
"""URLs of one statement."""


@dataclass(frozen=True, slots=True)
class Package:
    """One that is made. `name`: of its job; `url` (S3), `size` in bytes, `sha1` as 40 hex digits: of its file."""

    name: str
    model: str
    version: str
    url: str
    size: int
    sha1: str


_SELECT = sa.select(*(PACKAGES.c[each.name] for each in fields(Package))).where(PACKAGES.c.status == MADE)


def find_package(connection: sa.Connection, name: str) -> Package | None:
    """None: there is no such job, or it has made none."""
    return _first(connection, _SELECT.where(PACKAGES.c.name == name))


def package_of(connection: sa.Connection, url: str) -> Package | None:
    """The newest one of that file; None: there is none."""
    return _first(connection, _SELECT.where(PACKAGES.c.url == url).order_by(PACKAGES.c.id.desc()).limit(1))


def newest_packages(connection: sa.Connection, limit: int) -> list[Package]:
    """The newest first."""
    return [Package(*row) for row in connection.execute(_SELECT.order_by(PACKAGES.c.id.desc()).limit(limit))]


def versions(connection: sa.Connection, urls: Collection[str] | None = None) -> dict[str, str]:
    """URL of a file -> the version of its newest package; of all files, or of those."""
    select = sa.select(PACKAGES.c.url, PACKAGES.c.version).where(PACKAGES.c.status == MADE).order_by(PACKAGES.c.id)
    if urls is None:
        return dict(connection.execute(select).all())
    found: dict[str, str] = {}
    for part in bulk.parts(list(urls), PART):
        found |= dict(connection.execute(select.where(PACKAGES.c.url.in_(part))).all())
    return found


def add_package(
    connection: sa.Connection,
    model: str,
    version: str | None,
    file: StoredFile,
    now: float,
    auditor: Auditor | None = None,
) -> Package:
    """Makes a package of the file, unless that version is the one that it has. `now`: Unix seconds.

    `version` None: the one that it has, else the first digits of its SHA-1. Raises ManagerError where that version of
    the model is another file.
    """
    known = package_of(connection, file.url)
    if known is not None and version in (None, known.version):
        return known
    version = version or file.sha1[:DIGITS]
    require_free_version(connection, model, version, file.sha1)
    digest = hashlib.sha1(f"{file.url} {version}".encode(), usedforsecurity=False).hexdigest()
    package = Package(f"{model[:50]}-{digest[:DIGITS]}", model, version, file.url, file.size, file.sha1)
    columns = (*(each.name for each in fields(Package)), "status", "request", "created", "changed")
    row = (*(getattr(package, each.name) for each in fields(Package)), MADE, "{}", now, now)
    if auditor is not None and find_package(connection, package.name) is None:
        members = {"ModelName": model, "ModelVersion": version, "ModelArtifact": file.url, "Size": file.size}
        auditor.add(connection, [(packaging_resource(package.name), None, members)])
    bulk.insert(connection, PACKAGES, columns, [row], "(name) DO NOTHING")
    return package


def require_free_version(connection: sa.Connection, model: str, version: str, sha1: str) -> None:
    """Raises ManagerError where that version of the model is another file."""
    is_other = (PACKAGES.c.model == model) & (PACKAGES.c.version == version) & (PACKAGES.c.sha1 != sha1)
    other = _first(connection, _SELECT.where(is_other).limit(1))
    if other is not None:
        raise ManagerError(
            f"version '{version}' of {model} is another file, with the SHA-1 {other.sha1}: give another --model-version"
        )


def _first(connection: sa.Connection, select: sa.Select[Any]) -> Package | None:
    row = connection.execute(select).first()
    return None if row is None else Package(*row)
