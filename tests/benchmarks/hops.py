"""How many calls one acknowledged heartbeat takes: `python tests/benchmarks/hops.py [--list] [--time]`.

The objects are those of the gateway, from the MQTT session to the signed request and back to the PUBACK; the HTTP
connections and the sockets of the broker are replaced by queues that answer at once. Counted are the calls into files
of gateway/ (a generator that goes on counts as a call), and how often one call is in another file than the call before.
The device is known and registered, and has sent a heartbeat before. `--list` prints the calls, `--time` the CPU of one.
"""

import asyncio
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from types import FrameType

import msgpack

import gateway

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.socketless_gateway import SocketlessGateway

ROOT = f"{Path(gateway.__file__).parent}/"
METRICS = [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]]
MODELS = [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]]
HELLO = msgpack.packb([4711, ["1.0.0", METRICS, MODELS], 1_795_458_600, 1024, 1])
HEARTBEAT = msgpack.packb([4711, 89, [81344, -61, 365], [[4, 2, [12, 50]]], None, None, 7])
HEARTBEATS = 20_000


def counted(bench: SocketlessGateway) -> list[tuple[str, str]]:
    """File and name of each call that one more heartbeat takes."""
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT):
            calls.append((code.co_filename.removeprefix(ROOT), code.co_qualname))

    before = len(bench.subscriber.sent)
    sys.setprofile(note)
    try:
        bench.deliver("hb", HEARTBEAT)
    finally:
        sys.setprofile(None)
    assert len(bench.subscriber.sent) == before + 1
    return calls


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = SocketlessGateway(Path(folder))
        bench.deliver("hello", HELLO)
        await asyncio.sleep(0.05)  # the hello is written
        for _ in range(2):
            bench.deliver("hb", HEARTBEAT)
        calls = counted(bench)
        if "--list" in sys.argv:
            print(*(f"{file:32} {name}" for file, name in calls), sep="\n")
        changes = sum(here[0] != there[0] for here, there in pairwise(calls))
        print(f"{len(calls)} calls, {changes} changes of file")
        if "--time" in sys.argv:
            began = time.process_time()
            for _ in range(HEARTBEATS):
                bench.deliver("hb", HEARTBEAT)
            print(f"{(time.process_time() - began) / HEARTBEATS * 1e6:.1f} us of CPU for each of {HEARTBEATS:,}")
        bench.inbound.stop()
        bench.dispatcher.stop()


if __name__ == "__main__":
    asyncio.run(main())
