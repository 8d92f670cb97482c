"""Devices that call a manager over HTTP, each one call after the other, and count what was answered.

Every heartbeat has a number, which is its only sample, and is sent until it is accepted: so what a database has can be
compared with what was acknowledged.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.arrivals import DEADLINE_S
from tests.support.loop_thread import LoopThread

EPOCH = 1_800_000_000
METRIC = "number"


@dataclass
class Told:
    """What one device was told. `unknown`: calls of SendHeartbeat that may have been stored although nobody said so."""

    accepted: int = 0
    unknown: int = 0
    deployments: list[str] = field(default_factory=list)


class Callers(LoopThread):
    """From `start` to `stop`; `urls` may change meanwhile. `rate`: calls a second of each device at most."""

    def __init__(self, urls: Sequence[str], fleet: str, devices: Sequence[str], rate: float = 50.0) -> None:
        super().__init__("callers", DEADLINE_S)
        self.urls = list(urls)
        self.told = {device: Told() for device in devices}
        self.statuses: Counter[int] = Counter()
        self.without_retry_after = 0
        self.slowest: dict[int, float] = {}
        """Status -> seconds of the slowest answer."""
        self.fetches = False
        """Whether each heartbeat is followed by GetDeployments, and a new deployment by its result."""
        self._fleet = fleet
        self.pause = 1 / rate
        """Seconds after each answer."""
        self._turns = itertools.count()
        self._ends = False
        self._tasks: list[asyncio.Task[None]] = []

    async def closed(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self) -> None:
        async def start() -> None:
            self._tasks = [asyncio.create_task(self._device(device)) for device in self.told]

        self._ends = False
        self.run(start())

    def stop(self) -> None:
        """Once each device's last heartbeat is accepted."""

        async def stop() -> None:
            await asyncio.gather(*self._tasks)

        self._ends = True
        self.run(stop())

    @property
    def accepted(self) -> int:
        return sum(each.accepted for each in self.told.values())

    async def _device(self, name: str) -> None:
        told, connections = self.told[name], Connections()
        try:
            while not self._ends:
                await self._heartbeat(connections, name, told.accepted + 1)
                if self.fetches:
                    await self._fetch(connections, name)
                await asyncio.sleep(self.pause)
        finally:
            connections.close()

    async def _heartbeat(self, connections: "Connections", name: str, number: int, **more: Any) -> None:
        metrics = [{"MetricName": METRIC, "Value": number, "Timestamp": EPOCH + number}]
        body = {"AgentVersion": "1.0.0", "AgentMetrics": metrics} | more
        await self._call(connections, name, "SendHeartbeat", body)
        self.told[name].accepted += 1

    async def _fetch(self, connections: "Connections", name: str) -> None:
        told = self.told[name]
        answer = await self._call(connections, name, "GetDeployments", {})
        for each in answer["Deployments"]:
            if each["DeploymentName"] not in told.deployments:
                told.deployments.append(each["DeploymentName"])
                result = {"DeploymentName": each["DeploymentName"], "DeploymentStatus": "SUCCESS"}
                await self._heartbeat(connections, name, told.accepted + 1, DeploymentResult=result)

    async def _call(self, connections: "Connections", name: str, operation: str, body: dict[str, Any]) -> Any:
        """The output, however often it must be repeated."""
        while True:
            output = await self._call_once(connections, name, operation, body)
            if output is not None:
                return output
            await asyncio.sleep(self.pause)

    async def _call_once(self, connections: "Connections", name: str, operation: str, body: dict[str, Any]) -> Any:
        """The output; None: it must be repeated. Raises AssertionError where it is rejected."""
        url = self.urls[next(self._turns) % len(self.urls)]
        who = {"DeviceFleetName": self._fleet, "DeviceName": name}
        began = time.monotonic()
        try:
            status, headers, output = await connections.call(url, operation, who | body)
        except (OSError, EOFError, ValueError):
            status, headers, output = 0, {}, b""
        self.statuses[status] += 1
        self.slowest[status] = max(self.slowest.get(status, 0.0), time.monotonic() - began)
        if status == 200:
            return json.loads(output or b"{}")
        if operation == "SendHeartbeat":
            self.told[name].unknown += 1
        assert status in (0, 503), f"status {status}: {output!r}"
        if status == 503 and headers.get("retry-after") != "1":
            self.without_retry_after += 1
        return None


class Connections:
    """Of one device, kept open; one to each address."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def call(self, url: str, operation: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by their names in lower case, body. Raises OSError, EOFError and ValueError: it broke."""
        try:
            if url not in self._open:
                where = urlsplit(url)
                self._open[url] = await asyncio.open_connection(where.hostname, where.port)
            reader, writer = self._open[url]
            sent = json.dumps(body).encode()
            head = f"POST /{operation} HTTP/1.1\r\nHost: manager\r\nContent-Length: {len(sent)}\r\n\r\n"
            writer.write(head.encode() + sent)
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[:-1]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            output = await reader.readexactly(int(headers.get("content-length", 0)))
            if headers.get("connection") == "close":
                self._drop(url)
            return int(first.split()[1]), headers, output
        except (OSError, EOFError, ValueError):
            self._drop(url)
            raise

    def _drop(self, url: str) -> None:
        found = self._open.pop(url, None)
        if found is not None:
            with suppress(OSError):
                found[1].transport.abort()

    def close(self) -> None:
        for url in list(self._open):
            self._drop(url)
