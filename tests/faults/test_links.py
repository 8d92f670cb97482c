"""The network between broker and gateway, and between devices and broker, through a proxy that cuts and slows."""

from tests.faults.scene import Scene, scaled
from tests.faults.troubles import Trouble, always
from tests.support.gateway_process import READY


def test_the_gateways_connections_are_cut_again_and_again(scene: Scene) -> None:
    """Wherever in a packet: the broker delivers again what was not settled."""
    proxy = scene.proxy(scene.broker.address.gateway_port)
    gateway = scene.gateway(proxy.port)
    scene.join(30)
    scene.cloud.judge = always(Trouble(delay=0.1))  # so that each cut finds calls under way
    scene.load(300)
    for _ in range(scaled(8, 60)):
        scene.go_on(0.2)
        scene.ask(proxy.cut)
        gateway.said("connection to the broker lost: it keeps unacknowledged messages")
        gateway.said(READY)
    scene.rest()
    scene.until_through()
    assert scene.close_books(f"cuts {proxy.cuts}").duplicates > 0, "no cut found a call under way"


def test_the_devices_connections_are_cut_again_and_again(scene: Scene) -> None:
    """They come back all at once, and send again what they have no PUBACK or no ack for."""
    scene.gateway()
    proxy = scene.proxy(scene.broker.address.device_port)
    scene.join(scaled(100, 2000), again_after=1.0, port=proxy.port)
    scene.load(scaled(300, 1000))
    for _ in range(scaled(5, 30)):
        scene.go_on(0.4)
        scene.ask(proxy.cut)
    scene.rest()
    scene.until_through()
    scene.close_books(f"cuts {proxy.cuts}")


def test_a_slow_link_to_the_broker(scene: Scene) -> None:
    """Fewer bytes a second than the heartbeats need: they wait at the broker, and come in their order."""
    proxy = scene.proxy(scene.broker.address.gateway_port)
    scene.gateway(proxy.port)
    scene.join(scaled(20, 100))
    scene.beat()
    scene.until_through()
    proxy.rate = 4000
    scene.load(scaled(300, 1000))
    scene.go_on(scaled(2, 60))
    scene.rest()
    assert scene.ledger.open > 100, "it was not slow"
    proxy.rate = None
    scene.until_through()
    scene.close_books()
