"""The shell over an asynchronous client such as mqtt_as, on a board or a host: `asyncio.run(AsyncPort(...).serve())`.

Decides nothing about messages: that is the agent's part. The client keeps the connection, and sends again what the
broker has not confirmed.
"""

import asyncio

from .heartbeat import Packer
from .mqtt import time
from .port import CHANNELS, Port, random16, unix_time


class AsyncPort(Port):
    """client: has mqtt_as's connect(), up (an Event), subscribe(), publish() and queue of (topic, payload, retained).

    Only the uptime and the topics are a Port's. size: bytes of the largest payload that the device sends.
    """

    def __init__(self, agent, client, fleet, device, root="edge", size=512, clock=unix_time):
        self.agent = agent
        self._client = client
        self.root = "%s/%s/%s/" % (root, fleet, device)
        self.p = Packer(size, 0)
        self._heard = asyncio.Event()
        self.at = time.ticks_ms()
        agent.start(0, clock(), random16(), False)

    async def serve(self):
        """For ever, or until the client raises: then this does, too."""
        await self._client.connect()
        tasks = asyncio.create_task(self._subscribe()), asyncio.create_task(self._hear())
        try:
            while True:
                await self._say()
                for task in tasks:
                    if task.done():  # or nobody would know that the device is deaf
                        await task
        finally:
            for task in tasks:
                task.cancel()

    async def _say(self):
        """What is due, then what can be carried out; ends when a message came, or after a second."""
        channel = self.agent.poll(self.now(), self.p)
        while channel:
            payload = bytes(self.p.buf[: self.p.pos])
            await self._client.publish(self.root + channel, payload, channel == "hello", 1)
            self.agent.sent(channel)
            channel = self.agent.poll(self.now(), self.p)
        try:
            await asyncio.wait_for(self._heard.wait(), min(1, self.agent.wait(self.now()) or 1))
        except asyncio.TimeoutError:
            pass
        self._heard.clear()
        while self.agent.work(self.now):
            pass

    async def _subscribe(self):
        while True:
            await self._client.up.wait()
            self._client.up.clear()
            for channel in CHANNELS:
                await self._client.subscribe(self.root + channel, 1)

    async def _hear(self):
        async for topic, payload, _ in self._client.queue:
            self.receive(topic, payload)
            self._heard.set()
