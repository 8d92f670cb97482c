"""A broker that does not have the gateway's session any more: what waited there is lost, and the gateway says so."""

import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.clocked import JumpingClock
from tests.faults.scenario import Scenario, scaled
from tests.support.gateway_process import READY, GatewayProcess
from tests.support.paths import ROOT

LOST = "the broker has lost our session: what waited there, or came since then, is lost"
EXPIRED = "our session at the broker has expired: what waited there, or came since then, is lost"
DOCTOR = [sys.executable, "-m", "gateway", "doctor", "--json"]


def forget(broker: Mosquitto, folder: Path) -> None:
    """The broker loses its disk."""
    broker.stop()
    (folder / "mosquitto" / "data" / "mosquitto.db").unlink()
    broker.start()


def until_recorded(scenario: Scenario) -> float:
    """Until the gateway has recorded that it is connected, as it does each second; the Unix second of before."""
    now, folder = time.time(), scenario.folder / "state"
    scenario.until(lambda: any(file.stat().st_mtime >= now for file in folder.glob("session-*.json")), "not recorded")
    return now


def check_said(said: dict[str, Any], connected: float, ended: float) -> None:
    """Between `connected` and `ended`, in Unix seconds, the gateway was last connected."""
    assert said["level"] == "error"
    assert connected - 1 <= datetime.fromisoformat(said["since"]).timestamp() <= ended
    assert 0 <= said["seconds"] <= time.time() - connected + 1


def not_said(gateway: GatewayProcess) -> None:
    """It is connected, and has no loss to report."""
    assert not [line for line in gateway.log.so_far() if line["event"] in (LOST, EXPIRED)]


def test_the_broker_loses_the_session(own_scenario: Scenario, own_mosquitto: Mosquitto, tmp_path: Path) -> None:
    """While the gateway is away, and while it is there; not at a first start, nor for a new client id."""
    gateway = own_scenario.gateway()
    own_scenario.join(20, wants_acks=False)
    own_scenario.beat()
    own_scenario.until_through()
    not_said(gateway)
    connected = until_recorded(own_scenario)
    gateway.kill()
    ended = time.time()
    own_scenario.beat(scaled(5, 50))
    own_scenario.until_confirmed()
    forget(own_mosquitto, tmp_path)
    gateway.start()
    check_said(gateway.wait_for_log(LOST), connected, ended)
    assert gateway.metrics()["sessions_lost_total"] == 1
    assert gateway.readiness() == (200, [])

    connected = until_recorded(own_scenario)
    forget(own_mosquitto, tmp_path)
    ended = time.time()
    gateway.wait_for_log(READY)
    check_said(gateway.wait_for_log(LOST), connected, ended)
    assert gateway.metrics()["sessions_lost_total"] == 2

    variables = own_scenario.variables()
    done = subprocess.run(DOCTOR, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=60)
    line = next(each for each in json.loads(done.stdout)["checks"] if each["check"] == "session loss")
    assert line["level"] == "warn"
    assert "the broker has lost the session" in line["found"]

    gateway.terminate()
    gateway.start()
    not_said(gateway)
    gateway.terminate()
    not_said(own_scenario.gateway(client_id="another"))
    lost = 20 * scaled(5, 50)
    assert own_scenario.check_ledger(f"waited at the broker {lost:,}", forgiven=lost).lost == lost


def test_the_session_expires(own_scenario: Scenario) -> None:
    """By what the gateway asked for: another text, and another cure."""
    gateway = own_scenario.gateway(session_expiry=1)
    connected = until_recorded(own_scenario)
    gateway.terminate()
    ended = time.time()
    own_scenario.run_for(2.5)
    gateway.start()
    check_said(gateway.wait_for_log(EXPIRED), connected, ended)
    assert gateway.metrics()["sessions_lost_total"] == 1


def test_a_loss_that_is_found_while_the_clock_is_wrong(own_scenario: Scenario) -> None:
    """It is reported once the clock is right; a kill before that leaves the date of the last connection as it is."""
    clock = JumpingClock(own_scenario.folder / "clock")
    gateway = own_scenario.gateway(command=clock.command, session_expiry=1)
    connected = until_recorded(own_scenario)
    gateway.terminate()
    ended = time.time()
    clock.jump(-ended)
    own_scenario.run_for(2.5)
    gateway.start()
    not_said(gateway)
    gateway.kill()
    own_scenario.run_for(2.5)
    gateway.start()
    not_said(gateway)
    clock.jump(0)
    check_said(gateway.wait_for_log(EXPIRED), connected, ended)
    assert gateway.metrics()["sessions_lost_total"] == 1
