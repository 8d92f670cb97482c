"""Fixtures that all tests share: the broker of the session, and one that a test may kill."""

import asyncio
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from gateway.demo.brokers.discovery import Broker
from gateway.demo.brokers.mosquitto import Mosquitto
from gateway.manager.store import Place, Store
from tests.support import brokers, needs, processes, stores
from tests.support.brokers import SessionBroker
from tests.support.postgres import PgBouncer, Postgres, PostgresContainer, new_database

SESSION_BROKER = pytest.StashKey[SessionBroker]()
BROKER = pytest.StashKey[set[str]]()
"""Which brokers this run took, for its last lines."""
# A machine with other work is no judge of speed; what failed is printed to repeat.
settings.register_profile("untimed", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
# Of an exception that is logged, rich would show all local variables: seconds of work on a machine that is busy.
structlog.configure(
    [
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
PORTS = range(20_000, 32_000)
ASYNC_TEST_S = 29.0
"""The longest that a test on an event loop takes: its traceback then shows what it waited for."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BROKER] = set()
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # What one worker draws and does not listen on yet, or not while its broker is down, no other one may draw.
        size = len(PORTS) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        mine = PORTS[int(worker.removeprefix("gw")) % int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) * size :][:size]
        os.environ["DEMO_PORTS"] = f"{mine[0]}-{mine[-1]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The containers first, in whatever order of theirs: they take longest, and one worker then has them all."""
    items.sort(key=lambda item: item.get_closest_marker("container") is None)


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _bounded(item.obj)


def _bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*arguments: object, **fixtures: object) -> None:
        try:
            async with asyncio.timeout(ASYNC_TEST_S) as bound:
                await test(*arguments, **fixtures)
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise AssertionError(f"not over after {ASYNC_TEST_S:g} s; above is what it waited for") from error

    return run


@pytest.fixture(scope="session", autouse=True)
def _nothing_outlives_the_tests() -> Iterator[None]:
    with processes.nothing_outlives_us():
        yield


@pytest.fixture(scope="session")
def session_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionBroker]:
    """The broker of this process's tests, the best that is there; the same kind in each worker of a run."""
    config, folder = request.config, tmp_path_factory.getbasetemp()
    name = brokers.shared_broker_kind(folder.parent if hasattr(config, "workerinput") else folder)
    config.stash[BROKER].add(f"{name} ({brokers.IMAGE})" if name == "container" else name)
    with SessionBroker(name, tmp_path_factory.mktemp("broker")) as made:
        config.stash[SESSION_BROKER] = made
        yield made
        del config.stash[SESSION_BROKER]


@pytest.fixture(scope="module")
def broker(session_broker: SessionBroker) -> Broker:
    """One broker for all tests, unless one breaks it. Each test uses fleet names of its own in it."""
    return session_broker.broker()


@pytest.fixture(autouse=True)
def _broker_serves(request: pytest.FixtureRequest) -> Iterator[None]:
    """The session's broker can do what a test needs, and a test that breaks it does not break the next one."""
    for marker in request.node.iter_markers("needs_broker"):
        brokers.require(request.getfixturevalue("broker"), *marker.args)
    yield
    made = request.config.stash.get(SESSION_BROKER, None)
    if made is not None and "session_broker" in request.fixturenames:
        made.check()


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto of the test's own, with the shipped files, that it may stop, kill and start again."""
    directory = tmp_path / "mosquitto"
    directory.mkdir()
    with brokers.own_mosquitto(directory) as running:
        yield running


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One server for all tests of this process, which none of them stops. Each test has a database of its own in it."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A running server of the test's own, that it may stop, kill and start again."""
    with Postgres(tmp_path / "postgres") as server:
        yield server


@pytest.fixture
def pgbouncer(postgres: Postgres, tmp_path: Path) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode before the server of all tests."""
    with PgBouncer(tmp_path / "pgbouncer", postgres) as pooler:
        yield pooler


@pytest.fixture
def pgbouncer_url(pgbouncer: PgBouncer) -> Iterator[str]:
    """An empty database, by way of PgBouncer."""
    with new_database(pgbouncer) as url:
        yield url


@pytest.fixture(params=stores.ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Of an Edge Manager's store, in each engine; nothing is there yet."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    return Place(tmp_path, url)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """An Edge Manager's store, in each engine, with its tables empty."""
    with stores.open_place(place) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_container() -> Iterator[PostgresContainer]:
    """The oldest version that is supported, for tests with the marker `container`."""
    with PostgresContainer() as server:
        yield server


@pytest.fixture
def postgres_container_url(postgres_container: PostgresContainer) -> Iterator[str]:
    """An empty database of the oldest version that is supported."""
    with new_database(postgres_container) as url:
        yield url


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["brokers"] = sorted(session.config.stash[BROKER])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """xdist: what a worker took."""
    node.config.stash[BROKER].update(getattr(node, "workeroutput", {}).get("brokers", ()))  # type: ignore[attr-defined]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Which broker it was, and what was skipped for want of what."""
    if config.stash[BROKER]:
        terminalreporter.write_line(f"broker: {', '.join(sorted(config.stash[BROKER]))}")
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", ())]
    lines = needs.lacks(each[2].removeprefix("Skipped: ") for each in skipped if isinstance(each, tuple))
    if lines:
        terminalreporter.section("what was skipped, and for want of what")
    for line in lines:
        terminalreporter.write_line(line)
