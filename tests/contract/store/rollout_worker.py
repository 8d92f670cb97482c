"""One process of several on a store, for `test_rollout_processes`: `rollout_worker.py DATA URL ROLE`, URL may be empty.

It says "ready", waits for a line, does its part, and says what it did.
"""

import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from gateway.manager.api import LatestValues, MetricKey, Sample
from gateway.manager.rollouts import RolloutRepository, RolloutRunner, runner
from gateway.manager.rollouts.decisions import RolloutDeviceState
from gateway.manager.store import HeartbeatCall, Place, Store, Transaction, open_store
from gateway.manager.store.tables import DEVICES
from tests.support.stores import patient

NOW = 100.0
GROUP = 50
ROUNDS = 2
KEY = MetricKey("", "", "cpu", "load")


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201


def step(store: Store) -> None:
    """Takes steps of the rollout `one` until all devices have it."""
    rollouts, taken = RolloutRunner(store), 0
    while rollouts.read(1).progress.count(RolloutDeviceState.WAITING):
        if rollouts.advance(1, NOW):
            taken += 1
            say("step", taken)
        else:  # the other process takes one
            time.sleep(0.001)
    say("done", taken)


def hold(store: Store) -> None:
    """Takes a step, and does not commit it."""

    def work(transaction: Transaction) -> None:
        assert runner._take_step(RolloutRepository(transaction), 1, NOW, False)
        say("holds")
        time.sleep(600)

    store.write(work)


def report(store: Store, reverse: bool) -> None:
    """Every device reports a result of the rollout `one`, and a metric, in groups; it repeats it."""
    rollouts, told = RolloutRunner(store), 0
    for group in _groups(store, reverse):
        heartbeats = [_heartbeat(name, "FAIL" if reverse else "SUCCESS", told) for name, _ in group]
        _, changed = store.record(heartbeats, rollouts.on_results)
        told += len(group)
        for rollout in changed:
            rollouts.advance(rollout, NOW)
    say("done", told)


def fetch(store: Store) -> None:
    """Every device fetches; where its plan has changed meanwhile, again."""
    rollouts, fetched = RolloutRunner(store), 0
    for group in _groups(store, reverse=True):
        names = {("f", name): None for name, _ in group}
        while names:
            read = store.read(partial(Transaction.read_plans, names=names))
            plans = {each.device: each.number for each in read.values()}
            changed = store.write(partial(rollouts.on_fetched, plans=plans, now=NOW))
            names = {name: None for name, each in read.items() if each.device in changed}
        fetched += len(group)
    say("done", fetched)


def supersede(store: Store) -> None:
    """Steps of the rollout `two`, which supersedes `one` everywhere; then it is aborted, which brings `one` back."""
    rollouts = RolloutRunner(store)
    while rollouts.advance(2, NOW, wait=True):
        pass
    store.write(lambda transaction: RolloutRepository(transaction).update(2, state="aborted"))
    while rollouts.advance(2, NOW, wait=True):
        pass
    say("done")


def _groups(store: Store, reverse: bool) -> Iterator[list[tuple[str, int]]]:
    devices = list(store.read(lambda transaction: transaction.device_ids("f")).items())
    for _ in range(ROUNDS):
        for start in range(0, len(devices), GROUP):
            part = devices[start : start + GROUP]
            yield part[::-1] if reverse else part


def _heartbeat(device: str, status: str, number: int) -> HeartbeatCall:
    sample = Sample(1.0, NOW + number)
    return HeartbeatCall(
        "f",
        device,
        LatestValues(
            agent_version="1",
            liveness=None,
            only_liveness=False,
            samples=[(KEY, sample.at, sample.value)],
            metrics={KEY: sample},
            models={},
            deployment="one",
            status=status,
            result=f'{{"DeploymentStatus": "{status}"}}',
        ),
        NOW,
    )


def deregister(store: Store) -> None:
    """Deregisters every tenth device of those that were registered for it."""
    names = store.read(lambda transaction: transaction.connection.scalars(sa.select(DEVICES.c.name)).all())
    gone = [name for name in names if name.startswith("gone")]
    for name in gone:
        assert store.write(partial(Transaction.deregister, fleet="f", device=name))
    say("done", len(gone))


ROLES = {
    "step": step,
    "hold": hold,
    "report": lambda store: report(store, False),
    "report-reverse": lambda store: report(store, True),
    "fetch": fetch,
    "supersede": supersede,
    "deregister": deregister,
}


def main(data: str, url: str, role: str) -> None:
    runner.SLICE = 100
    store = patient(open_store(Place(Path(data), url or None), create=False))
    say("ready")
    sys.stdin.readline()
    ROLES[role](store)


if __name__ == "__main__":
    main(*sys.argv[1:])
