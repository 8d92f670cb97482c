"""Looks once a minute for what is wrong, on one process of a database: a task of the background.

It must never read devices one by one: a look costs the same for a thousand and for a million.
"""

from collections.abc import Callable

import structlog

from gateway.manager.alerts.conditions import AlertState, find
from gateway.manager.alerts.records import record
from gateway.manager.reports import fleet_reports
from gateway.manager.rollouts import RolloutRepository
from gateway.manager.store import Store, Transaction, Turn, TurnLost

ALERTS_INTERVAL = 60.0
"""Seconds between two looks."""
HELD = 150.0
"""Seconds after which another process looks, where the one that did is gone."""
ROLLOUTS = 1000
"""The newest ones are looked at."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


class AlertRunner:
    """`changed` is called where an alert fired or ended."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed
        self._turn = Turn("alerts", HELD)

    def step(self, now: float) -> bool:
        """One look at `now` (Unix seconds); False: no more to do now. Raises StoreUnavailable."""
        seen = self._store.read(lambda transaction: self._turn.seen(transaction.connection, now))
        if seen is None:
            return False
        fleets = fleet_reports(self._store)
        rollouts = self._store.read(
            lambda transaction: RolloutRepository(transaction).list_rollouts(limit=ROLLOUTS, newest_first=True)
        )
        findings = find(fleets, rollouts)

        def write(transaction: Transaction) -> list[tuple[str, str, str, str]]:
            self._turn.take(transaction.connection, seen, now)
            return [(each.state, each.name, each.subject, each.summary) for each in record(transaction, findings, now)]

        try:
            changes = self._store.write(write)
        except TurnLost:
            return False
        for state, name, subject, summary in changes:
            if state == AlertState.FIRING:
                LOG.warning(
                    "an alert fires: edge-gateway manager alerts list says what to do",
                    alert=name,
                    subject=subject,
                    summary=summary,
                )
            else:
                LOG.info("an alert ended", alert=name, subject=subject)
        if changes:
            self._changed()
        return False
