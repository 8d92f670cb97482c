"""The garden door as the tests open it: attempts written down, no wait between them. No test of its own."""

import asyncio

import pytest

from gateway.calls import Call
from gateway.cloud import Cloud, Lane
from gateway.errors import CloudError
from gateway.express import Express
from gateway.retry import RetryPolicy
from gateway.standard import Standard, make_client, make_session

READ_TIMEOUT = 0.5
NO_TIME = 1e-9


class Door:
    """A Cloud whose attempts are written down, and whose waits between them are over at once."""

    def __init__(
        self, url: str, monkeypatch: pytest.MonkeyPatch, give_up_after: float = 300.0, way: str = "express"
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_EDGE", url)
        self.attempts: list[CloudError | None] = []
        self.repeated: list[int] = []
        self.stopping = asyncio.Event()
        policy = RetryPolicy(self.stopping, NO_TIME, NO_TIME, give_up_after)
        session = make_session()
        client = make_client(session, None, 2, 1.0, READ_TIMEOUT)
        lane: Lane = Express(session, client, 2) if way == "express" else Standard(client, 2)
        self.cloud = Cloud(lane, policy, self._attempted, self._repeated)
        self.stop_at_failure = False

    def _attempted(self, call: Call, seconds: float, error: CloudError | None) -> None:
        self.attempts.append(error)
        if error is not None and self.stop_at_failure:
            self.stopping.set()

    def _repeated(self, call: Call, error: BaseException, attempts: int) -> None:
        self.repeated.append(attempts)
