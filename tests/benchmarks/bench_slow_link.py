"""A model file over slow links, beside the heartbeats: `python tests/benchmarks/bench_slow_link.py [CHECKOUT]`.

A device of the SDK on CPython behind a TCP proxy that paces, Mosquitto, and what a gateway would answer. With another
checkout of this project its SDK runs beside, in the same run. Prints only what it measured; ended after 200 s.
"""

import asyncio
import contextlib
import hashlib
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgpack
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parents[2]
sys.path.insert(0, str(HERE))

from tests.benchmarks.environment import broker
from tests.support.tcp_proxy import TcpProxy, TcpProxyThread

LINKS = ((100, 8_000), (250, 12_000), (1_000, 12_000), (1_000_000, 200_000))
"""Bytes a second of each direction, and bytes of the file."""
INTERVAL_S = 10
MOST_S = 200
TOPIC = "edge/fleet-a/dev-000001/"
DEVICE = """
import sys
from device_sdk.agent import Agent
from device_sdk.port import Port
def install(definition):
    print("here", flush=True)
def measure(agent):
    agent.sample("temperature", 213)
layout = ["1.0.0", [["room", "temperature", -1]], []]
agent = Agent(layout, install, print, measure, interval=int(sys.argv[2]), files=sys.argv[3])
Port(agent, "127.0.0.1", "fleet-a", "dev-000001", port=int(sys.argv[1])).run()
"""


class PacedProxy(TcpProxy):
    """Pieces of a tenth of a second, and how many bytes the client got."""

    received = 0

    @property
    def _size(self) -> int:
        return max(25, int(self.rate or 0) // 10)

    async def to_client(self, piece: bytes, client: asyncio.StreamWriter) -> None:
        self.received += len(piece)
        await super().to_client(piece, client)


class Responder:
    """What a gateway would say: the plan, and the blocks of its file. `came`: when each heartbeat came, monotonic."""

    def __init__(self, port: int, model: bytes) -> None:
        self.came: list[float] = []
        self._model = model
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _, __, message: self._answer(message)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(TOPIC + "hb", 1), (TOPIC + "read", 1)])
        definition = ["kws", 1, hashlib.sha1(model, usedforsecurity=False).digest(), len(model)]
        self._client.publish(TOPIC + "plan", msgpack.packb([7, [["d", 0, [definition]]]]), 1, True)

    def _answer(self, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("hb"):
            self.came.append(time.monotonic())
            return
        digest, index, offset, length, count = msgpack.unpackb(message.payload)
        for at in range(offset, min(offset + count * length, len(self._model)), length):
            block = [digest, index, at, len(self._model), self._model[at : at + length]]
            self._client.publish(TOPIC + "block", msgpack.packb(block), 1)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        self._client.loop_start()
        try:
            yield
        finally:
            self._client.disconnect()
            self._client.loop_stop()


def download(checkout: Path, rate: int, size: int) -> tuple[str, str, str]:
    """Seconds until the file is there, the longest time between two heartbeats until then, bytes received by size."""
    model = bytes(number * 7 & 255 for number in range(size))
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as port:
        responder = Responder(port, model)
        link = TcpProxyThread("127.0.0.1", port)
        link.proxy = paced = PacedProxy("127.0.0.1", port)
        paced.rate = rate
        here = threading.Event()
        with responder.answering(), link:
            began = time.monotonic()
            command = [sys.executable, "-c", DEVICE, str(paced.port), str(INTERVAL_S), folder + "/"]
            environment = {"PYTHONPATH": str(checkout)}
            with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as device:
                reader = threading.Thread(target=said, args=(device, here))
                reader.start()
                done = here.wait(MOST_S)
                ended = time.monotonic()
                received = paced.received
                device.kill()
                reader.join()
    times = [began, *(at for at in responder.came if at <= ended), ended]
    gap = max(after - before for before, after in itertools.pairwise(times))
    took = f"{ended - began:.1f} s" if done else f"none in {MOST_S} s"
    return took, f"{gap:.1f} s", f"{received / size:.2f}"


def said(device: subprocess.Popen[str], here: threading.Event) -> None:
    """The thread that waits for the device's first line."""
    if device.stdout is not None and device.stdout.readline():
        here.set()


def main(checkouts: list[Path]) -> None:
    table = Table(title=f"a model file, heartbeats each {INTERVAL_S} s")
    for column in ("link", "file", "SDK", "file there after", "longest without a heartbeat", "received / size"):
        table.add_column(column, justify="left" if column == "SDK" else "right")
    for rate, size in LINKS:
        for checkout in checkouts:
            name = "this" if checkout == HERE else checkout.name
            table.add_row(f"{rate:,} B/s", f"{size:,} B", name, *download(checkout, rate, size))
    Console(width=120).print(table)


if __name__ == "__main__":
    main([HERE, *(Path(each).resolve() for each in sys.argv[1:])])
