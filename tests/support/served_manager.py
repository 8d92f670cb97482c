"""A manager that serves in a thread of the test, over a place of either engine, and clients of it."""

from contextlib import AsyncExitStack
from typing import Any

import boto3
from botocore.config import Config

from gateway.manager import Place
from gateway.manager.http import AccessKey, ServerConfig, start_server
from tests.support.arrivals import DEADLINE_S
from tests.support.loop_thread import LoopThread
from tests.support.manager_process import ACCESS, SECRET


class ServedManager(LoopThread):
    """`url` is there within the context. `options`: of ServerConfig."""

    def __init__(self, place: Place, **options: Any) -> None:
        super().__init__("manager")
        self._config = ServerConfig(place, **({"access_key": AccessKey(ACCESS, SECRET)} | options))
        self._stack = AsyncExitStack()
        self.url = ""

    async def opened(self) -> None:
        self.url = await self._stack.enter_async_context(start_server(self._config))

    async def closed(self) -> None:
        await self._stack.aclose()

    def client(self, service: str, access: str = ACCESS, secret: str = SECRET) -> Any:
        """A plain boto3 client that tries once."""
        return boto3.Session().client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=DEADLINE_S, read_timeout=DEADLINE_S),
        )
