"""The broker is stopped, killed and stalled under load, with the configuration that is shipped."""

import os
import signal

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.scene import Scene, scaled
from tests.faults.troubles import DOWN, always, fine
from tests.support.gateway_process import READY


def test_the_broker_is_stopped_under_load(own_scene: Scene, own_mosquitto: Mosquitto) -> None:
    """SIGTERM: it saves all, so not even what no device asked for is lost. Acks on the way to a device that is away
    are, and what it asked for comes again."""
    gateway = own_scene.gateway()
    own_scene.join(scaled(20, 200), asks=False)
    own_scene.join(scaled(20, 200), again_after=1.0, prefix="asks")
    own_scene.load(scaled(300, 1000))
    for turn in range(scaled(4, 30)):
        own_scene.cloud.judge = always(DOWN) if turn % 2 else fine
        own_scene.go_on(0.5)
        own_mosquitto.stop()
        own_mosquitto.start()
        gateway.said(READY)
    own_scene.cloud.judge = fine
    own_scene.rest()
    own_scene.until_through()
    own_scene.close_books()


def test_the_broker_is_killed(own_scene: Scene, own_mosquitto: Mosquitto) -> None:
    """kill -9 in an outage: what was asked for and every result is sent again; of the rest, what came since the last
    save is lost."""
    gateway = own_scene.gateway()
    for device in own_scene.join(scaled(20, 200), again_after=1.0, prefix="asks"):
        own_scene.ask(device.deployed, f"of-{device.name}")
    unasked, after = scaled(20, 200), scaled(3, 30)
    own_scene.join(unasked, asks=False)
    own_scene.cloud.judge = always(DOWN)
    own_scene.beat(scaled(5, 50))
    own_scene.until_confirmed()
    own_mosquitto.save()
    own_scene.beat(after)
    own_scene.until_confirmed()
    own_mosquitto.kill()
    own_mosquitto.start()
    gateway.said(READY)
    own_scene.cloud.judge = fine
    own_scene.beat()
    own_scene.until_decided()
    since = unasked * after
    own_scene.close_books(f"sent since the last save and not asked for {since:,}", forgiven=since)
    assert own_scene.figures("asks").lost == 0


def test_the_broker_stands_still(own_scene: Scene, own_mosquitto: Mosquitto) -> None:
    """SIGSTOP for longer than the keepalive allows: the gateway gives the connection up and comes back."""
    gateway = own_scene.gateway(keepalive=1)
    own_scene.join(scaled(20, 200))
    own_scene.load(200)
    own_scene.until_accepted(20)
    os.kill(own_mosquitto.pid, signal.SIGSTOP)
    try:
        gateway.said("connection to the broker lost: it keeps unacknowledged messages")
        own_scene.go_on(scaled(1, 30))
    finally:
        os.kill(own_mosquitto.pid, signal.SIGCONT)
    gateway.said(READY)
    own_scene.until_accepted(20)
    own_scene.rest()
    own_scene.until_through()
    own_scene.close_books()
