"""Alerts in the database: written after each look, read, and muted. Decides nothing. Times are Unix seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import sqlalchemy as sa

from gateway.manager.alerts.conditions import KINDS, Alert, AlertState, Finding, next_alert
from gateway.manager.store import Transaction, bulk
from gateway.manager.store.control_tables import ALERTS

KEPT = 7 * 86_400.0
"""Seconds for which an alert that ended is kept."""
MOST = 10_000
"""Alerts at once: further findings are left out."""
_COLUMNS = ("name", "subject", "summary", "since", "fired", "ended", "muted", "notified")
_C = ALERTS.c


class AlertReport(TypedDict):
    """One alert. `state`: of AlertState; `muted`: until when nobody is notified; None: it is not muted."""

    name: str
    subject: str
    state: str
    severity: str
    summary: str
    since: float
    fired: float | None
    ended: float | None
    muted: float | None
    follows: str
    action: str


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """`notified`: the state of which the webhook was notified last; empty: none."""

    alert: Alert
    muted: float | None = None
    notified: str = ""


def stored_alerts(transaction: Transaction) -> dict[tuple[str, str], StoredAlert]:
    """(name, subject) -> the alert, of the names that there are."""
    rows = transaction.connection.execute(sa.select(*(_C[each] for each in _COLUMNS)))
    return {(row.name, row.subject): _from_row(row) for row in rows if row.name in KINDS}


def _from_row(row: sa.Row[*tuple[object, ...]]) -> StoredAlert:
    *alert, muted, notified = row
    return StoredAlert(Alert(*alert), muted, notified)  # type: ignore[arg-type]


def record(transaction: Transaction, findings: Sequence[Finding], now: float) -> list[Alert]:
    """Writes what follows from a look. Returns those that fired or ended with it."""
    stored = stored_alerts(transaction)
    found = {(each.name, each.subject): each for each in findings[:MOST]}
    changed: list[Alert] = []
    write: dict[tuple[str, str], Alert] = {}
    gone: list[tuple[str, str]] = []
    for key in stored.keys() | found.keys():
        before = stored.get(key)
        alert = next_alert(None if before is None else before.alert, found.get(key), now)
        old = alert is not None and alert.ended is not None and alert.ended < now - KEPT
        if alert is None or (old and not _is_muted(before, now)):
            gone.append(key)
            continue
        if before is None or before.alert != alert:
            write[key] = alert
        state = None if before is None else before.alert.state
        if alert.state is not state and alert.state is not AlertState.PENDING:
            changed.append(alert)
    _delete(transaction, gone)
    _write(transaction, write)
    return sorted(changed, key=lambda each: (each.name, each.subject))


def _is_muted(stored: StoredAlert | None, now: float) -> bool:
    return stored is not None and stored.muted is not None and stored.muted > now


def _delete(transaction: Transaction, keys: Sequence[tuple[str, str]]) -> None:
    for part in bulk.parts(keys, 200):
        transaction.connection.execute(sa.delete(ALERTS).where(sa.tuple_(_C.name, _C.subject).in_(part)))


def _write(transaction: Transaction, alerts: Mapping[tuple[str, str], Alert]) -> None:
    columns = ("name", "subject", "summary", "since", "fired", "ended")
    rows = [tuple(getattr(each, column) for column in columns) for each in alerts.values()]
    update = ", ".join(f"{each} = excluded.{each}" for each in columns[2:])
    if rows:
        bulk.insert(transaction.connection, ALERTS, columns, rows, f"(name, subject) DO UPDATE SET {update}")


def alert_reports(
    transaction: Transaction, now: float, *, after: tuple[str, str] = ("", ""), limit: int | None = None
) -> list[AlertReport]:
    """Those that fire first, then the pending ones, then those that ended; among them the gravest, then the newest.

    Those that follow the alert (name, subject), at most `limit`.
    """
    names, states = list(KINDS), [AlertState.FIRING, AlertState.PENDING, AlertState.ENDED]
    found = sorted(
        stored_alerts(transaction).values(),
        key=lambda each: (
            states.index(each.alert.state),
            names.index(each.alert.name),
            -each.alert.since,
            each.alert.subject,
        ),
    )
    keys = [(each.alert.name, each.alert.subject) for each in found]
    start = keys.index(after) + 1 if after in keys else 0
    return [_report(each, now) for each in found[start:][:limit]]


def _report(stored: StoredAlert, now: float) -> AlertReport:
    alert, kind = stored.alert, KINDS[stored.alert.name]
    return AlertReport(
        name=alert.name,
        subject=alert.subject,
        state=alert.state,
        severity=kind.severity,
        summary=alert.summary,
        since=alert.since,
        fired=alert.fired,
        ended=alert.ended,
        muted=stored.muted if _is_muted(stored, now) else None,
        follows=kind.follows,
        action=kind.action,
    )


def mute_alert(transaction: Transaction, name: str, subject: str, until: float | None) -> tuple[bool, float | None]:
    """Until then; None: no longer. Whether there is that alert, and until when it was muted."""
    which = (_C.name == name) & (_C.subject == subject)
    row = transaction.connection.execute(sa.select(_C.muted).where(which).with_for_update()).one_or_none()
    if row is None:
        return False, None
    transaction.connection.execute(sa.update(ALERTS).where(which).values(muted=until))
    return True, row.muted


def not_notified(transaction: Transaction, now: float) -> list[Alert]:
    """Those of whose state the webhook was not notified.

    Not the pending ones, nor those that are muted, nor those that ended before it was notified of them.
    """
    found = []
    for each in stored_alerts(transaction).values():
        state = each.alert.state
        is_news = state is AlertState.FIRING or (state is AlertState.ENDED and each.notified == AlertState.FIRING)
        if is_news and each.notified != state and not _is_muted(each, now):
            found.append(each.alert)
    return sorted(found, key=lambda each: (each.name, each.subject))


def mark_notified(transaction: Transaction, alerts: Sequence[Alert]) -> None:
    rows = [(each.name, each.subject, str(each.state)) for each in alerts]
    given = bulk.given(transaction.connection, rows, name=sa.Text, subject=sa.Text, notified=sa.Text)
    same = (_C.name == given.c.name) & (_C.subject == given.c.subject)
    transaction.connection.execute(sa.update(ALERTS).values(notified=given.c.notified).where(same))
