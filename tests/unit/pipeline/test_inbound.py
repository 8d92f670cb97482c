"""After the stop nothing is acknowledged: the broker delivers it again."""

from pathlib import Path

import pytest

from tests.benchmarks.hops import Bench

MALFORMED, TOO_LARGE = b"\xc1", bytes(100_000)


@pytest.mark.parametrize("payload", [MALFORMED, TOO_LARGE], ids=["malformed", "too large"])
async def test_what_comes_after_the_stop_is_not_acknowledged(payload: bytes, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.deliver("hb", payload)
    acknowledged = list(bench.subscriber.sent)
    assert acknowledged
    bench.inbound.stop()
    bench.dispatcher.stop()
    bench.deliver("hb", payload)
    assert list(bench.subscriber.sent) == acknowledged
