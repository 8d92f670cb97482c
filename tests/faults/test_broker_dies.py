"""The broker is stopped, killed and stalled under load, with the configuration that is shipped."""

import os
import signal

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.scenario import Scenario, scaled
from tests.support.edge_manager import UNAVAILABLE, accept_all, always
from tests.support.gateway_process import READY


def test_the_broker_is_stopped_under_load(own_scenario: Scenario, own_mosquitto: Mosquitto) -> None:
    """SIGTERM: it saves all, so not even what no device asked for is lost. Acks on the way to a device that is away
    are, and what it asked for comes again."""
    gateway = own_scenario.gateway()
    own_scenario.join(scaled(20, 200), wants_acks=False)
    own_scenario.join(scaled(20, 200), resend_after=1.0, prefix="asks")
    own_scenario.load(scaled(300, 1000))
    for turn in range(scaled(4, 30)):
        own_scenario.service.rule = always(UNAVAILABLE) if turn % 2 else accept_all
        own_scenario.run_for(0.5)
        own_mosquitto.stop()
        own_mosquitto.start()
        gateway.wait_for_log(READY)
    own_scenario.service.rule = accept_all
    own_scenario.stop_load()
    own_scenario.until_through()
    own_scenario.check_ledger()


def test_the_broker_is_killed(own_scenario: Scenario, own_mosquitto: Mosquitto) -> None:
    """kill -9 in an outage: what was asked for and every result is sent again; of the rest, what came since the last
    save is lost."""
    gateway = own_scenario.gateway()
    for device in own_scenario.join(scaled(20, 200), resend_after=1.0, prefix="asks"):
        own_scenario.call(device.report_result, f"of-{device.name}")
    unasked, after = scaled(20, 200), scaled(3, 30)
    own_scenario.join(unasked, wants_acks=False)
    own_scenario.service.rule = always(UNAVAILABLE)
    own_scenario.beat(scaled(5, 50))
    own_scenario.until_confirmed()
    own_mosquitto.save()
    own_scenario.beat(after)
    own_scenario.until_confirmed()
    own_mosquitto.kill()
    own_mosquitto.start()
    gateway.wait_for_log(READY)
    own_scenario.service.rule = accept_all
    own_scenario.beat()
    own_scenario.until_decided()
    since = unasked * after
    own_scenario.check_ledger(f"sent since the last save and not asked for {since:,}", forgiven=since)
    assert own_scenario.figures("asks").lost == 0


def test_the_broker_is_suspended(own_scenario: Scenario, own_mosquitto: Mosquitto) -> None:
    """SIGSTOP for longer than the keepalive allows: the gateway gives the connection up and comes back."""
    gateway = own_scenario.gateway(keepalive=1)
    own_scenario.join(scaled(20, 200))
    own_scenario.load(200)
    own_scenario.until_accepted(20)
    os.kill(own_mosquitto.pid, signal.SIGSTOP)
    try:
        gateway.wait_for_log("connection to the broker lost: it keeps unacknowledged messages")
        own_scenario.run_for(scaled(1, 30))
    finally:
        os.kill(own_mosquitto.pid, signal.SIGCONT)
    gateway.wait_for_log(READY)
    own_scenario.until_accepted(20)
    own_scenario.stop_load()
    own_scenario.until_through()
    own_scenario.check_ledger()
