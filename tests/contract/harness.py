"""The client of the Edge Manager as the tests use it: attempts noted, no wait between them. No test of its own."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.cloud.availability import Availability
from gateway.cloud.boto_transport import BotoTransport, make_edge_client, make_session
from gateway.cloud.client import EdgeManagerClient, Transport
from gateway.cloud.credentials import CredentialSource
from gateway.cloud.direct_transport import DirectTransport
from gateway.errors import CloudError
from gateway.protocol.messages import Device
from gateway.protocol.service_calls import Call, Outcome, RetryLater
from gateway.retry import RetryPolicy
from tests.support.arrivals import DEADLINE_S

NO_TIME = 1e-9


class ClientHarness:
    """`attempts`: the error of each, None: it succeeded. `repeated`: what was reported of attempts so far.
    `read_timeout`: a short one, where no answer comes."""

    def __init__(
        self,
        url: str,
        monkeypatch: pytest.MonkeyPatch,
        give_up_after: float = 300.0,
        transport: str = "direct",
        read_timeout: float = DEADLINE_S,
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_EDGE", url)
        self.attempts: list[CloudError | None] = []
        self.repeated: list[int] = []
        self.stopping = asyncio.Event()
        policy = RetryPolicy(self.stopping, NO_TIME, NO_TIME)
        session = make_session(CredentialSource(None, DEADLINE_S, DEADLINE_S))
        client = make_edge_client(session, None, 2, DEADLINE_S, read_timeout)
        over: Transport = DirectTransport(session, client, 2) if transport == "direct" else BotoTransport(client, 2)
        availability = Availability(2, give_up_after, time.monotonic())
        self.cloud = EdgeManagerClient(over, policy, availability, self._attempted, self._repeated)
        self.stop_at_failure = False
        self.concurrency = 0
        self._due: set[Device] = set()
        self._changed = asyncio.Event()
        self.cloud.bind(self._retry_due, self._set_concurrency)

    async def once(self, call: Call) -> Outcome[Any]:
        """The outcome of one attempt."""
        ended: asyncio.Future[Outcome[Any]] = asyncio.get_running_loop().create_future()
        self.cloud.call(call, ended.set_result)
        return await ended

    async def perform(self, call: Call) -> Outcome[Any]:
        """The last outcome: a call that may be repeated is repeated as soon as it may be, as the core does."""
        while isinstance(outcome := await self.once(call), RetryLater):
            await (self.due(call.device) if outcome.only_this_device else self._until(lambda: self.concurrency > 0))
        return outcome

    async def due(self, device: Device) -> None:
        """Wait until the device's call may be repeated."""
        await self._until(lambda: device in self._due)
        self._due.discard(device)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._changed.clear()
            await self._changed.wait()

    def _retry_due(self, device: Device) -> None:
        self._due.add(device)
        self._changed.set()

    def _set_concurrency(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._changed.set()

    def _attempted(self, call: Call, seconds: float, error: CloudError | None) -> None:
        self.attempts.append(error)
        if error is not None and self.stop_at_failure:
            self.stopping.set()

    def _repeated(self, call: Call, error: BaseException, attempts: int) -> None:
        self.repeated.append(attempts)
