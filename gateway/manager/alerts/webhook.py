"""Tells a program of alerts that fire or end: a POST with the JSON of Alertmanager's webhooks, version 4, signed.

What it was notified of is in the database: of nothing twice but where an answer was lost, and nothing is left out where
the process ends in between. It must never hold up anything else: it has a thread of its own.
"""

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import structlog

from gateway.errors import explain
from gateway.manager.alerts.conditions import KINDS, Alert, AlertState
from gateway.manager.alerts.records import mark_notified, not_notified
from gateway.manager.errors import ManagerError
from gateway.manager.store import Store

WEBHOOK_INTERVAL = 5.0
"""Seconds between two searches for news; where something fires it looks at once."""
ANSWERS = 10.0
"""Seconds for an answer."""
LONGEST = 300.0
"""Seconds between two tries at most; the first is WEBHOOK_INTERVAL, and each doubles."""
BATCH = 100
"""Alerts of one message."""
HEADER = "X-Edge-Manager-Signature"

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """`secret`: of which the signature is made; None: there is none. Raises ManagerError where the URL cannot work."""

    url: str
    secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_right = False
        if not is_right:
            raise ManagerError(f"--alert-webhook '{self.url}' is not a URL: http://HOST:PORT/PATH or https://HOST/PATH")


class Webhook:
    """`source`: the URL of this manager, or empty."""

    def __init__(self, store: Store, config: WebhookConfig, source: str = "") -> None:
        self._store = store
        self._config = config
        self._source = source
        self._failures = 0
        self._next = 0.0

    def step(self, now: float) -> bool:
        """Tells what is new at `now` (Unix seconds); True: there is more. Raises StoreUnavailable."""
        if self._failures and self._next - LONGEST <= now < self._next:
            return False
        news = self._store.read(lambda transaction: not_notified(transaction, now))
        name = news[0].name if news else ""
        batch = [each for each in news if each.name == name and each.state is news[0].state][:BATCH]
        if not batch:
            return False
        fault = self._post(batch, now)
        if fault is not None:
            self._failures += 1
            wait = min(WEBHOOK_INTERVAL * 2 ** min(self._failures, 10), LONGEST)
            self._next = now + wait
            LOG.warning(
                "the webhook of alerts was not notified: it is tried again; look at its URL and at who answers there",
                alert=name, alerts=len(batch), reason=fault, seconds=wait,
            )  # fmt: skip
            return False
        self._failures = 0
        self._store.write(lambda transaction: mark_notified(transaction, batch))
        LOG.info("the webhook was notified of alerts", alert=name, state=str(batch[0].state), alerts=len(batch))
        return len(batch) < len(news)

    def _post(self, alerts: Sequence[Alert], now: float) -> str | None:
        """Why it failed; None: it was taken."""
        body = json.dumps(message(alerts, self._source), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "edge-gateway-manager"}
        if self._config.secret is not None:
            headers[HEADER] = signature(self._config.secret, int(now), body)
        request = urllib.request.Request(self._config.url, body, headers, method="POST")
        try:
            with _OPENER.open(request, timeout=ANSWERS) as answer:
                return None if 200 <= answer.status < 300 else f"status {answer.status}"
        except urllib.error.HTTPError as error:
            with error:
                return f"status {error.code}"
        except OSError as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            return explain(reason) if isinstance(reason, Exception) else str(reason)
        except ValueError as error:  # what answers does not speak HTTP
            return str(error)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A redirection would be followed as a GET, without the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirection)


def signature(secret: str, now: int, body: bytes) -> str:
    """`t=UNIX,v1=HEX`: the HMAC-SHA256 of the time, a dot and the body."""
    signed = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256)
    return f"t={now},v1={signed.hexdigest()}"


def message(alerts: Sequence[Alert], source: str) -> dict[str, Any]:
    """Of alerts of one name and one state."""
    name, kind = alerts[0].name, KINDS[alerts[0].name]
    status = "firing" if alerts[0].state is AlertState.FIRING else "resolved"
    labels = {"alertname": name, "severity": kind.severity}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "edge-manager",
        "groupLabels": {"alertname": name},
        "commonLabels": labels,
        "commonAnnotations": {"follows": kind.follows, "action": kind.action},
        "externalURL": source,
        "alerts": [
            {
                "status": status,
                "labels": labels | _labels(each),
                "annotations": {"summary": each.summary, "follows": kind.follows, "action": kind.action},
                "startsAt": _time(each.fired or each.since),
                "endsAt": _time(each.ended),
                "generatorURL": source,
                "fingerprint": hashlib.sha256(f"{name}/{each.subject}".encode()).hexdigest()[:16],
            }
            for each in alerts
        ],
    }


def _labels(alert: Alert) -> dict[str, str]:
    fleet, _, deployment = alert.subject.partition("/")
    return {name: value for name, value in (("fleet", fleet), ("deployment", deployment)) if value}


def _time(at: float | None) -> str:
    """As Alertmanager has it: year 1 where there is none."""
    return "0001-01-01T00:00:00Z" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
