"""After the stop nothing is acknowledged: the broker delivers it again."""

from pathlib import Path

import pytest

from tests.support.socketless_gateway import SocketlessGateway

MALFORMED, TOO_LARGE = b"\xc1", bytes(100_000)


@pytest.mark.parametrize("payload", [MALFORMED, TOO_LARGE], ids=["malformed", "too large"])
async def test_what_comes_after_the_stop_is_not_acknowledged(payload: bytes, tmp_path: Path) -> None:
    gateway = SocketlessGateway(tmp_path)
    gateway.deliver("hb", payload)
    acknowledged = list(gateway.subscriber.sent)
    assert acknowledged
    gateway.inbound.stop()
    gateway.dispatcher.stop()
    gateway.deliver("hb", payload)
    assert list(gateway.subscriber.sent) == acknowledged
