"""The port for an asyncio client such as mqtt_as, on a board or a host: `asyncio.run(AsyncPort(...).serve())`.

It must never interpret messages: the agent does. The client reconnects, and repeats unconfirmed publishes.
"""

import asyncio

from .heartbeat import Packer
from .mqtt import time
from .port import CHANNELS, Port, random16, unix_time


class AsyncPort(Port):
    """client: has mqtt_as's connect(), up (an Event), subscribe(), publish() and queue of (topic, payload, retained).

    Of Port it uses only the uptime and the topics. size: bytes of the largest payload that the device sends. A call
    that raises OSError or EOFError, as the network may, is repeated after a random wait that grows up to a minute.
    log: as in Port.
    """

    log = None

    def __init__(self, agent, client, fleet, device, root="edge", size=512, clock=unix_time, log=None):
        self.agent = agent
        self.clock = clock
        self._client = client
        self.root = "%s/%s/%s/" % (root, fleet, device)
        self.p = Packer(size, 0)
        self._got = asyncio.Event()
        self.at = time.ticks_ms()
        if log:
            from .log import Log

            self.log = Log(log, self)
        agent.start(0, clock(), random16(), False, self.p)

    async def serve(self):
        """Never returns. Raises what the client raises, but for OSError and EOFError."""
        tasks = [asyncio.create_task(self._measure())]
        try:
            await self._repeat(self._client.connect)
            tasks += asyncio.create_task(self._subscribe()), asyncio.create_task(self._repeat(self._read))
            while True:
                await self._send()
                for task in tasks:
                    if task.done():  # raises, if receiving has failed
                        await task
        finally:
            for task in tasks:
                task.cancel()

    async def _send(self):
        """Send what is due, wait for a message or a second, then carry out a part of the plan."""
        channel = self.poll()
        while channel:
            payload = bytes(self.p.buf[: self.p.pos])
            await self._repeat(self._client.publish, self.root + channel, payload, channel == "hello", 1)
            self.agent.sent(channel)
            channel = self.poll()
        try:
            await asyncio.wait_for(self._got.wait(), min(1, self.agent.wait(self.now()) or 1))
        except asyncio.TimeoutError:
            pass
        self._got.clear()
        while self.agent.work(self.now):
            pass
        if self.log:
            self.log.look()

    async def _measure(self):
        # A publish waits while there is no connection.
        while True:
            await asyncio.sleep(1)
            self.agent.update(self.now())

    async def _subscribe(self):
        while True:
            await self._client.up.wait()
            self._client.up.clear()
            self.agent.open += 1
            if self.log:
                self.log.connected()
            for channel in CHANNELS[: 3 if self.agent.call[1] else 1]:
                await self._repeat(self._client.subscribe, self.root + channel, 1)

    async def _read(self):
        async for topic, payload, _ in self._client.queue:
            self.receive(topic, payload)
            self._got.set()

    async def _repeat(self, call, *arguments):
        # Calls until the network lets it through.
        wait = 500
        while True:
            try:
                await call(*arguments)
                self.error = None
                return
            except (OSError, EOFError) as error:
                self.error = error
                if self.log:
                    self.log.failed(error)
            await asyncio.sleep(random16() % wait / 1000)
            wait = min(wait * 2, 60000)
