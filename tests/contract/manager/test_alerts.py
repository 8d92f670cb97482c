"""Alerts over a database of either engine, and a webhook that a server of the test takes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.manager.alerts import AlertRunner, AlertState, Webhook, WebhookConfig, alert_reports, mute_alert
from gateway.manager.alerts.webhook import HEADER, signature
from gateway.manager.store import Store
from gateway.manager.store.control_tables import ALERTS
from gateway.manager.store.tables import FLEET_STATES
from tests.support.arrivals import DEADLINE_S

NOW = 1_000_000.0


def silent(store: Store, *, connected: int, silent: int) -> None:
    """As many devices of the fleet are counted in these states."""

    def work(transaction: Any) -> None:
        transaction.register("f", ["a"], 1.0)
        transaction.connection.execute(sa.delete(FLEET_STATES))
        number = transaction.fleet_id("f")
        rows = [{"fleet": number, "state": state, "devices": count} for state, count in counts.items()]
        transaction.connection.execute(sa.insert(FLEET_STATES), rows)

    counts = {"connected": connected, "silent": silent}
    store.write(work)


def states(store: Store, now: float) -> dict[str, str]:
    found = store.read(lambda transaction: alert_reports(transaction, now))
    return {each["name"].removeprefix("EdgeManager"): each["state"] for each in found}


def test_an_alert_from_the_first_look_to_its_end(store: Store) -> None:
    changes: list[float] = []
    runner = AlertRunner(store, lambda: changes.append(1.0))
    silent(store, connected=5, silent=5)
    runner.step(NOW)
    assert states(store, NOW) == {"DevicesSilent": "pending"}
    runner.step(NOW + 900)
    assert states(store, NOW + 900) == {"DevicesSilent": "firing"}
    silent(store, connected=10, silent=0)
    runner.step(NOW + 960)
    assert states(store, NOW + 960) == {"DevicesSilent": "ended"}
    assert len(changes) == 2
    runner.step(NOW + 960 + 8 * 86_400)
    assert states(store, NOW) == {}


def test_one_process_looks(store: Store) -> None:
    silent(store, connected=5, silent=5)
    first, second = (AlertRunner(store, lambda: None) for _ in range(2))
    first.step(NOW)
    silent(store, connected=10, silent=0)
    second.step(NOW + 60)
    assert states(store, NOW) == {"DevicesSilent": "pending"}
    first.step(NOW + 60)
    assert states(store, NOW) == {}


class Receiver(HTTPServer):
    """`answers`: the statuses of the next answers, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/alerts"


class _Handler(BaseHTTPRequestHandler):
    timeout = DEADLINE_S

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append((dict(self.headers), body))
        status = server.answers.pop(0) if server.answers else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", server.url)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fire(store: Store) -> None:
    silent(store, connected=5, silent=5)
    runner = AlertRunner(store, lambda: None)
    for at in (NOW, NOW + 900):
        runner.step(at)


def test_the_webhook_is_told_once_of_each_change(store: Store, receiver: Receiver) -> None:
    fire(store)
    webhook = Webhook(store, WebhookConfig(receiver.url, "a secret"), "http://manager")
    for _ in range(2):
        webhook.step(NOW + 905)
    [(headers, body)] = receiver.got
    assert headers[HEADER] == signature("a secret", int(NOW + 905), body)
    assert json.loads(body)["status"] == "firing"
    silent(store, connected=10, silent=0)
    AlertRunner(store, lambda: None).step(NOW + 2000)
    webhook.step(NOW + 2000)
    assert json.loads(receiver.got[1][1])["status"] == "resolved"
    webhook.step(NOW + 2010)
    assert len(receiver.got) == 2


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_was_not_taken_is_told_again_later(store: Store, receiver: Receiver, status: int) -> None:
    fire(store)
    receiver.answers = [status, status]
    webhook = Webhook(store, WebhookConfig(receiver.url))
    for at in (900, 905, 912, 925, 960):
        webhook.step(NOW + at)
    assert len(receiver.got) == 3
    assert HEADER not in receiver.got[0][0]


def test_nobody_answers(store: Store, receiver: Receiver) -> None:
    fire(store)
    Webhook(store, WebhookConfig("http://127.0.0.1:9/")).step(NOW + 900)
    Webhook(store, WebhookConfig(receiver.url)).step(NOW + 900)
    assert len(receiver.got) == 1


def test_a_muted_alert_is_told_to_nobody(store: Store, receiver: Receiver) -> None:
    fire(store)
    name = "EdgeManagerDevicesSilent"
    assert store.write(lambda transaction: mute_alert(transaction, name, "f", NOW + 5000)) == (True, None)
    webhook = Webhook(store, WebhookConfig(receiver.url))
    webhook.step(NOW + 905)
    assert receiver.got == []
    webhook.step(NOW + 5001)
    assert len(receiver.got) == 1
    assert store.write(lambda transaction: mute_alert(transaction, "none", "f", None)) == (False, None)


def test_a_muted_alert_is_not_forgotten(store: Store) -> None:
    fire(store)
    until = NOW + 30 * 86_400
    store.write(lambda transaction: mute_alert(transaction, "EdgeManagerDevicesSilent", "f", until))
    silent(store, connected=10, silent=0)
    runner = AlertRunner(store, lambda: None)
    for days in (1, 9):
        runner.step(NOW + days * 86_400)
    assert states(store, NOW) == {"DevicesSilent": AlertState.ENDED}
    runner.step(until + 1)
    assert (
        store.read(lambda transaction: transaction.connection.scalar(sa.select(sa.func.count()).select_from(ALERTS)))
        == 0
    )
