"""Several managers on one PostgreSQL: what one does the others know, and one that is killed takes nothing with it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.manager.rollouts import Rollout, RolloutDeviceState, RolloutRepository
from gateway.manager.store import Store
from tests.faults import cluster
from tests.faults.cluster import IN_TIME_S, Cluster, asked, check_pages, until_more, until_page, until_status
from tests.faults.scenario import WAIT_S, scaled
from tests.support.callers import Callers
from tests.support.polling import until
from tests.support.postgres import PgBouncer, Postgres, new_database
from tests.support.stores import open_place

SIZE = 3
DEVICES = [f"d{number}" for number in range(scaled(20, 200))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The PostgreSQL of this file, which each test leaves running."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(scope="module")
def shared(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster.running(tmp_path_factory.mktemp("three") / "managers", server.url(), SIZE) as made:
        yield made


@pytest.fixture
def three(request: pytest.FixtureRequest, server: Postgres, shared: Cluster) -> Cluster:
    """Three managers on one PostgreSQL, and registered devices in a fleet of the test's own."""
    if not server.is_running:
        server.start()
    shared.start()
    shared.fleet = f"fleet-{request.session.items.index(request.node)}"
    shared.run("register", shared.fleet, *DEVICES)
    return shared


@pytest.fixture
def pooled(server: Postgres, tmp_path: Path) -> Iterator[Cluster]:
    """The same behind PgBouncer in transaction mode."""
    with (
        new_database(server) as url,
        PgBouncer(tmp_path / "pgbouncer", server) as pooler,
        cluster.running(tmp_path / "managers", pooler.url(url.rpartition("/")[2]), SIZE) as made,
    ):
        made.run("register", made.fleet, *DEVICES)
        yield made


@pytest.fixture
def callers(request: pytest.FixtureRequest) -> Iterator[Callers]:
    """They call each manager in turn."""
    made = request.getfixturevalue("pooled" if "pooled" in request.fixturenames else "three")
    with Callers(made.urls, made.fleet, DEVICES) as calling:
        calling.start()
        until_more(calling, 2 * len(DEVICES))
        yield calling


def roll_out(made: Cluster, name: str) -> None:
    """A deployment in three stages, whose later ones come by results."""
    model = made.data.parent / "model"
    model.write_bytes(name.encode())
    made.run("deploy", made.fleet, "--all", f"kws={model}", "--name", name, "--stages", "10%,50%,100%")


def until_completed(made: Cluster, callers: Callers, name: str) -> None:
    def reached() -> bool:
        return all(name in told.deployments for told in callers.told.values())

    until(reached, lambda: f"{name} is not everywhere: {made.run('deployments', made.fleet)}", WAIT_S)

    with open_place(made.place) as store:

        def reached_all() -> str:
            """The state of the rollout, and of its devices."""
            [found] = [each for each in rollouts(store, made.fleet) if each.name == name]
            succeeded = found.progress.count(RolloutDeviceState.SUCCEEDED)
            return f"{found.progress.state}, {succeeded} succeeded"

        until(
            lambda: reached_all() == f"completed, {len(DEVICES)} succeeded", lambda: f"{name}: {reached_all()}", WAIT_S
        )


def rollouts(store: Store, fleet: str) -> list[Rollout]:
    return store.read(lambda transaction: RolloutRepository(transaction).list_rollouts(fleet))


def finish(made: Cluster, callers: Callers) -> None:
    """The last calls, and what holds afterwards."""
    callers.stop()
    made.check_running()
    made.check(callers)
    assert callers.without_retry_after == 0
    assert callers.slowest.get(503, 0.0) < IN_TIME_S, callers.slowest


def kill_one_under_a_rollout(made: Cluster, callers: Callers) -> None:
    callers.fetches = True
    roll_out(made, "one")
    victim = made.managers[0]
    victim.end(signal.SIGKILL)
    until_completed(made, callers, "one")
    victim.start()
    callers.urls = made.urls
    roll_out(made, "two")
    until_completed(made, callers, "two")
    assert callers.statuses[503] == 0
    finish(made, callers)


def test_one_of_three_managers_is_killed_under_a_rollout(three: Cluster, callers: Callers) -> None:
    kill_one_under_a_rollout(three, callers)


def test_the_same_behind_pgbouncer(pooled: Cluster, callers: Callers) -> None:
    kill_one_under_a_rollout(pooled, callers)


def test_a_deployment_is_known_to_each_manager_at_once(three: Cluster) -> None:
    """Each keeps its answers; a command, which is a process of its own, changes them all."""
    clients = [each.client("sagemaker-edge") for each in three.managers]

    def answers() -> list[list[str]]:
        found = [each.get_deployments(DeviceFleetName=three.fleet, DeviceName="d0")["Deployments"] for each in clients]
        return [[deployment["DeploymentName"] for deployment in each] for each in found]

    model = three.data.parent / "model"
    for name in ("one", "two"):
        model.write_bytes(name.encode())
        three.run("deploy", three.fleet, "--all", f"kws={model}", "--name", name)
        assert answers() == [[name]] * SIZE
    three.run("undo", three.fleet, "two")
    assert answers() == [["undo-two-3"]] * SIZE or len({each[0] for each in answers()}) == 1
    model.write_bytes(b"three")
    three.run("deploy", three.fleet, "--all", f"beep={model}", "--name", "three", "--stages", "5%,100%")
    three.run("abort", three.fleet, "three")
    assert len({tuple(each) for each in answers()}) == 1
    three.run("deregister", three.fleet, "d0")
    for each in clients:
        with pytest.raises(each.exceptions.ClientError, match="not registered"):
            each.get_deployments(DeviceFleetName=three.fleet, DeviceName="d0")


def test_three_managers_get_calls_of_the_same_devices(server: Postgres, three: Cluster) -> None:
    """No call fails, and each is counted once."""
    with (
        Callers(three.urls[:1], three.fleet, DEVICES, rate=1000) as one,
        Callers(three.urls[1:2], three.fleet, DEVICES[::-1], rate=1000) as two,
        Callers(three.urls[2:], three.fleet, DEVICES, rate=1000) as other,
    ):
        everyone = (one, two, other)
        for each in everyone:
            each.start()
        for each in everyone:
            until_more(each, scaled(50, 500) * len(DEVICES))
        for each in everyone:
            each.stop()
            assert set(each.statuses) == {200}
        three.check(*everyone)
    assert "deadlock" not in server.log


def test_postgresql_is_killed_under_three_managers(server: Postgres, three: Cluster, callers: Callers) -> None:
    callers.fetches = True
    roll_out(three, "one")
    server.kill()
    until_status(callers, 503, len(DEVICES))
    for path in ("/healthz", "/readyz"):
        check_pages(three, path, 503)
    server.start()
    for each in three.managers:
        until_page(each, "/readyz", 200)
    until_completed(three, callers, "one")
    finish(three, callers)


def test_postgresql_is_restarted_while_nobody_calls(server: Postgres, three: Cluster, callers: Callers) -> None:
    """The connections that managers hold are dead; the next calls do not fail for that."""
    callers.stop()
    before = callers.statuses[503]
    server.stop()
    server.start()
    callers.start()
    until_more(callers, 3 * len(DEVICES))
    assert callers.statuses[503] == before
    finish(three, callers)


def test_postgresql_is_suspended_under_three_managers(server: Postgres, three: Cluster, callers: Callers) -> None:
    server.suspend()
    try:
        for path in ("/healthz", "/readyz"):
            check_pages(three, path, 503)
        until_status(callers, 503, len(DEVICES))
        assert three.managers[0].end(signal.SIGTERM) == 0  # sooner than a service manager kills it, after 90 s
    finally:
        server.resume()
    three.managers[0].start()
    callers.urls = three.urls
    until_more(callers, 2 * len(DEVICES))
    finish(three, callers)


def test_postgresql_takes_no_changes(server: Postgres, three: Cluster, callers: Callers) -> None:
    """Devices whose deployments they have fetched are answered all the same."""
    import psycopg

    with psycopg.connect(server.url(), autocommit=True) as operator:
        operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        operator.execute("SELECT pg_reload_conf()")
        try:
            until_status(callers, 503, len(DEVICES))
            for each in three.managers:
                assert asked(each, "/healthz") == 200
                assert asked(each, "/readyz") == 503
                answer = each.client("sagemaker-edge").get_deployments(DeviceFleetName=three.fleet, DeviceName="d0")
                assert answer["Deployments"] == []
        finally:
            operator.execute("SET default_transaction_read_only = off")
            operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
            operator.execute("SELECT pg_reload_conf()")
    until_more(callers, 2 * len(DEVICES))
    finish(three, callers)


def test_postgresql_has_no_connection_left(server: Postgres, three: Cluster, callers: Callers) -> None:
    import psycopg

    held = []
    others = "pid <> pg_backend_pid() AND application_name = 'edge-manager'"
    with psycopg.connect(server.url(), autocommit=True) as operator:
        while True:
            operator.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            try:
                held.append(psycopg.connect(server.url()))
            except psycopg.OperationalError:
                found = operator.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {others}").fetchone()
                if found == (0,):
                    break
        until_status(callers, 503, len(DEVICES))
        for each in three.managers:
            until_page(each, "/healthz", 503)
        for connection in held:
            connection.close()
    until_more(callers, 2 * len(DEVICES))
    finish(three, callers)
