"""A manager is killed (SIGKILL) at each change that it makes durable, on each engine, while an operator and devices
call it: what was answered is there, once, and whatever was begun is finished or removed."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import pytest

from gateway.manager import Place
from tests.faults.killed_site import Clients, KilledSite, Kills, ManagerParent, Operator
from tests.faults.scenario import scaled
from tests.support.postgres import new_database
from tests.support.stores import ENGINES

FLEET = "f"
EVERY = 8
WHEN = ("before", "after")
FEW = 40
"""Changes that `serve` makes in `everything` at least."""
PROCESSES = 7
"""That `everything` starts: `serve`, and one for each command."""
NAMES = ("d1", "d2", "d3", "d4", "d5")


@pytest.fixture(scope="module")
def clients() -> Clients:
    return Clients()


@pytest.fixture(scope="module")
def parent() -> Iterator[ManagerParent]:
    with ManagerParent() as running:
        yield running


def everything(operator: Operator) -> None:
    """Each operation, command and call once or more, of five devices."""
    operator.put("k", b"a model")
    operator.create_fleet(FLEET)
    operator.register(FLEET, *NAMES)
    operator.tag(f"device-fleet/{FLEET}/device/d5", "x")
    operator.compile("c", "k")
    operator.package("p", "c")
    operator.until_jobs_ended()
    operator.put_in_parts("other", b"another model")
    operator.create_plan("plan", FLEET, "p", one=NAMES[:3], two=100, three=1)
    operator.start("plan", "one")
    operator.until_started("plan", "one")
    for name, status in (("d1", "SUCCESS"), ("d2", "FAIL")):
        for deployment in operator.fetch(FLEET, name):
            operator.heartbeat(FLEET, name, deployment, status)
    operator.start("plan", "two")
    operator.stop("plan", "one")
    operator.delete_stage("plan", "three")
    operator.add_stage("plan", "three", 50)
    operator.deploy(FLEET, "first", "beep", b"beep", "--stages", "40%,100%")
    operator.change_rollout(FLEET, "first", "pause")
    operator.change_rollout(FLEET, "first", "resume")
    for name in NAMES:
        for deployment in operator.fetch(FLEET, name):
            operator.heartbeat(FLEET, name, deployment)
    operator.undo(FLEET, "first")
    operator.deploy(FLEET, "second", "beep", b"beep two")
    operator.change_rollout(FLEET, "second", "abort")
    operator.deregister(FLEET, "d5", "d4")
    operator.register(FLEET, "d5")
    operator.create_fleet("g")
    operator.delete_fleet("g")
    operator.package("q", "c")
    operator.stop_package("q")
    operator.until_jobs_ended()
    operator.delete_compilation("c")
    operator.stop("plan", "two")
    operator.delete_plan("plan")


def anything(operator: Operator, chosen: random.Random) -> None:
    """Whatever an operator and devices may ask in any order, also what is refused."""
    put = iter(range(1000))
    operator.put("k", b"a model")
    operator.create_fleet(FLEET)
    operator.register(FLEET, *NAMES)
    operator.compile("c0", "k")
    operator.package("p0", "c0")
    operator.until_jobs_ended()

    def some_devices() -> list[str]:
        return chosen.sample(NAMES, chosen.randint(1, 3))

    def deploy() -> None:
        number = next(put)
        stages = chosen.choice(((), ("--stages", "40%,100%")))
        operator.deploy(FLEET, f"r{number}", chosen.choice(("beep", "kws")), f"file {number}".encode(), *stages)

    def change_rollout() -> None:
        for _, name in chosen.sample(sorted(operator.rollouts), min(1, len(operator.rollouts))):
            operator.change_rollout(FLEET, name, chosen.choice(("pause", "resume", "abort")))

    def undo() -> None:
        for _, name in chosen.sample(sorted(operator.rollouts), min(1, len(operator.rollouts))):
            operator.undo(FLEET, name)

    def devices_report() -> None:
        for name in some_devices():
            for deployment in operator.fetch(FLEET, name):
                operator.heartbeat(FLEET, name, deployment, chosen.choice(("SUCCESS", "SUCCESS", "FAIL")))

    def plan() -> str:
        return chosen.choice(("plan", "plan", "map"))

    def stage() -> str:
        return chosen.choice(("one", "two", "three"))

    asked: list[Callable[[], object]] = [
        lambda: operator.create_plan(plan(), FLEET, "p0", one=some_devices(), two=chosen.choice((20, 50, 100))),
        lambda: operator.add_stage(plan(), "three", some_devices()),
        *[lambda: operator.start(plan(), stage())] * 3,
        lambda: operator.stop(plan(), stage()),
        lambda: operator.delete_stage(plan(), stage()),
        lambda: operator.delete_plan(plan()),
        *[deploy] * 2,
        change_rollout,
        undo,
        *[devices_report] * 3,
        lambda: operator.deregister(FLEET, *some_devices()),
        lambda: operator.register(FLEET, *some_devices()),
        lambda: operator.tag(f"edge-deployment/{plan()}", str(next(put))),
        lambda: operator.compile(f"c{chosen.randint(1, 2)}", chosen.choice(("k", "none"))),
        lambda: operator.package(f"p{chosen.randint(1, 3)}", f"c{chosen.randint(0, 2)}"),
        lambda: operator.stop_package(f"p{chosen.randint(1, 3)}"),
        lambda: operator.delete_compilation(f"c{chosen.randint(1, 2)}"),
        lambda: operator.put("k2", str(next(put)).encode()),
        lambda: operator.put_in_parts("k3", str(next(put)).encode()),
        lambda: operator.delete_fleet(chosen.choice((FLEET, "g"))),
        lambda: operator.create_fleet("g"),
    ]
    operator.create_plan("plan", FLEET, "p0", one=some_devices(), two=100)
    operator.start("plan", "one")
    for _ in range(scaled(25, 60)):
        chosen.choice(asked)()


NewSite: TypeAlias = Callable[[Kills, str], AbstractContextManager[Operator]]
"""Where processes kill themselves, and the name of the case -> who uses a site where nothing is yet. At the end of the
context everything must hold."""


@pytest.fixture(params=ENGINES)
def new_site(request: pytest.FixtureRequest, parent: ManagerParent, clients: Clients, tmp_path: Path) -> NewSite:
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None

    @contextmanager
    def used(kills: Kills, name: str) -> Iterator[Operator]:
        folder = tmp_path / name
        folder.mkdir()
        with nullcontext() if server is None else new_database(server) as url:
            site = KilledSite(parent, Place(folder / "data", url), kills)
            operator = Operator(site, clients)
            try:
                yield operator
                operator.finish()
            except BaseException as error:
                error.add_note(f"{name}, {site.killed} were killed. It was: {'; '.join(operator.history)}")
                raise
            finally:
                site.close()

    return used


def test_each_change_leaves_the_database_whole(new_site: NewSite) -> None:
    """So whoever is killed there leaves it whole."""
    with new_site(lambda number: (0, "check"), "checked") as operator:
        everything(operator)


def at_random(chosen: random.Random) -> Kills:
    """Each process at one of its first changes: a command that is repeated comes through some day."""
    return lambda number: (chosen.randint(1, 2 * EVERY), chosen.choice(WHEN))


@pytest.mark.parametrize("scenario", ["everything", "anything"])
def test_each_process_is_killed(new_site: NewSite, scenario: str) -> None:
    for seed in random.sample(range(2**32), scaled(1, 10)):
        chosen = random.Random(seed)
        with new_site(at_random(chosen), f"seed={seed}") as operator:
            if scenario == "everything":
                everything(operator)
            else:
                anything(operator, chosen)


def test_one_process_is_killed_once(new_site: NewSite) -> None:
    """FAULTS=full: before and after each change of each process, of `serve` and of each command; else at one."""
    for process, when in scaled([(0, random.choice(WHEN))], [*itertools.product(range(PROCESSES), WHEN)]):
        for change in scaled([random.randint(1, FEW)], itertools.count(1)):
            kill = {process: (change, when)}
            with new_site(kill.get, f"{process}-{change}-{when}") as operator:
                everything(operator)
                killed = operator.site.killed
            if not killed:
                assert change > FEW or process, f"serve makes {change - 1} changes alone"
                break
