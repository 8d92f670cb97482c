"""Packages of deployed files, and what names a file, on both engines."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.manager import ManagerError
from gateway.manager.reports import VersionReport, unknown_versions, version_reports
from gateway.manager.rollouts import RolloutRepository, RolloutState, actions
from gateway.manager.store import ObjectStore, Package, Place, Store, Transaction, find_package, package_of, versions
from gateway.manager.store.object_uses import named_objects
from gateway.manager.store.tables import FLEET_MODELS, FLEETS


class Deploying:
    """Deploys to the device f/d."""

    def __init__(self, place: Place, store: Store) -> None:
        self._source = Path(place.data, "model.tflite")
        self._objects = ObjectStore(place.data, store)
        self._store = store
        store.write(lambda transaction: transaction.register("f", ["d"], 1.0))

    def deploy(self, content: bytes, version: str | None = None, handle: str = "kws") -> str:
        """The URL of the file."""
        self._source.write_bytes(content)
        rollout = actions.deploy(
            self._store,
            actions.NewDeployment("f", [handle]),
            actions.require_devices(self._store, "f", ["d"]),
            {handle: self._objects.put_file(self._source, "models", handle)},
            {} if version is None else {handle: version},
            now=5.0,
        )
        url = rollout.definitions[0].url
        assert url is not None
        return url

    def package(self, url: str) -> Package:
        found = self._store.read(lambda transaction: package_of(transaction.connection, url))
        assert found is not None
        assert self._store.read(lambda transaction: find_package(transaction.connection, found.name)) == found
        return found

    def versions(self) -> dict[str, str]:
        return self._store.read(lambda transaction: versions(transaction.connection))

    def named(self, url: str) -> bool:
        return url in self._store.read(named_objects)


@pytest.fixture
def deploying(place: Place, store: Store) -> Deploying:
    return Deploying(place, store)


def test_a_deployed_file_is_a_package(deploying: Deploying) -> None:
    url = deploying.deploy(b"one", "1.2")
    package = deploying.package(url)
    assert (package.model, package.version, package.url, package.size) == ("kws", "1.2", url, 3)
    assert url.rpartition("/")[2].startswith(package.sha1[:16])
    assert deploying.named(url)


def test_without_a_version_it_is_the_one_that_the_file_has_else_of_its_sha1(deploying: Deploying) -> None:
    first = deploying.package(deploying.deploy(b"one"))
    assert first.version == first.sha1[:12]
    second = deploying.package(deploying.deploy(b"one", "1.2"))
    assert (second.version, second.url) == ("1.2", first.url)
    assert deploying.package(deploying.deploy(b"one")) == second
    assert deploying.versions() == {first.url: "1.2"}


def test_a_version_is_one_file(deploying: Deploying) -> None:
    deploying.deploy(b"one", "1.2")
    with pytest.raises(ManagerError, match=r"version '1\.2' of kws is another file, .* give another --model-version"):
        deploying.deploy(b"two", "1.2")
    deploying.deploy(b"two", "1.2", handle="vad")
    deploying.deploy(b"two", "1.3")


def test_names_of_packages_are_names_of_jobs(deploying: Deploying) -> None:
    names = {deploying.package(deploying.deploy(b"one", version, "a" * 63)).name for version in ("1 _.", "1" * 64)}
    assert len(names) == 2
    actions.check_names("a job", "EntityName", list(names))
    with pytest.raises(ManagerError, match="--model-version '1/2' is not allowed: should be 1 to 64 characters"):
        deploying.deploy(b"one", "1/2")


def test_a_rollout_names_its_files_until_it_ends(deploying: Deploying, store: Store) -> None:
    """Where there is no package."""
    url = deploying.deploy(b"one")
    store.write(lambda transaction: transaction.connection.exec_driver_sql("DELETE FROM packages"))
    [rollout] = store.read(lambda transaction: RolloutRepository(transaction).list_rollouts())
    assert rollout.progress.state is RolloutState.RUNNING
    assert deploying.named(url)
    assert not deploying.named(url[:-1])
    assert not deploying.named(url.upper())
    actions.set_state(store, "f", rollout.name, RolloutState.ABORTED, now=6.0)
    assert not deploying.named(url)


def test_versions_of_models_page_by_page(deploying: Deploying, store: Store) -> None:
    first, second = deploying.deploy(b"one", "1"), deploying.deploy(b"two", "2")
    other = deploying.deploy(b"three", "1", handle="vad")
    deploying.deploy(b"one", "1")

    def read(**members: Any) -> list[VersionReport]:
        return store.read(lambda transaction: version_reports(transaction, **members))

    listed, page = [], read(limit=1)
    while page:
        listed += page
        page = read(after=(page[-1]["model"], page[-1]["newest"]), limit=1)
    assert listed == read()
    assert [(each["model"], each["version"]) for each in listed] == [("kws", "2"), ("kws", "1"), ("vad", "1")]
    assert [[package["url"] for package in each["packages"]] for each in listed] == [[second], [first], [other]]
    assert [[one["deployment"] for one in each["deployments"]] for each in listed] == [
        ["kws-2"],
        ["kws-4", "kws-1"],
        ["vad-3"],
    ]
    assert [each["fleets"] for each in listed] == [[], [wanted(1)], [wanted(1)]]
    assert [each["version"] for each in read(model="kws")] == ["2", "1"]
    assert read(model="none") == []


def wanted(devices: int) -> dict[str, object]:
    return {"fleet": "f", "wanted": devices, "running": 0}


def test_what_devices_run_beside_what_they_should(deploying: Deploying, store: Store) -> None:
    deploying.deploy(b"one", "1")
    rows = [("kws", "1", 2), ("kws", "0", 5), ("vad", "9", 0)]

    def work(transaction: Transaction) -> None:
        fleet = transaction.connection.scalar(sa.select(FLEETS.c.id))
        values = [{"fleet": fleet, "name": name, "version": version, "devices": count} for name, version, count in rows]
        transaction.connection.execute(sa.insert(FLEET_MODELS), values)

    store.write(work)
    [report] = store.read(version_reports)
    assert report["fleets"] == [{"fleet": "f", "wanted": 1, "running": 2}]
    [unknown] = store.read(lambda transaction: unknown_versions(transaction, 10))
    assert unknown == {"name": "kws", "version": "0", "devices": 5, "fleets": 1}


def test_a_file_is_of_the_version_that_it_got_last(deploying: Deploying, store: Store) -> None:
    deploying.deploy(b"one")
    deploying.deploy(b"one", "1.2")
    new, old = store.read(version_reports)
    assert (new["version"], [each["deployment"] for each in new["deployments"]]) == ("1.2", ["kws-2", "kws-1"])
    assert old["deployments"] == []
