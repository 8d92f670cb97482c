"""An Edge Manager that records every call and answers as the test says. It checks nothing.

It must never answer what the real service could not: rest-json, its errors by `x-amzn-ErrorType`.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiohttp import web

from gateway.demo.brokers.address import free_ports
from tests.support.arrivals import DEADLINE_S, Arrivals

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the operation (its path), the JSON body, and whether it was accepted."""

    operation: str
    body: dict[str, Any]
    accepted: bool

    @property
    def device(self) -> str:
        return str(self.body["DeviceName"])


@dataclass(frozen=True, slots=True)
class Fault:
    """A refusal: HTTP status and the error's code; a page in place of JSON where `page` is given."""

    status: int
    code: str = ""
    page: str | None = None


Judge: TypeAlias = Callable[[str, dict[str, Any]], Fault | None]
"""Operation and body -> what goes wrong; None: nothing."""

UNAVAILABLE = Fault(503, "ServiceUnavailable")


class Recorder:
    """A context manager: entering opens the port, `close` and `open` shut it and open it again."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1, HOST)
        self.url = f"http://{HOST}:{self.port}"
        self.calls: Arrivals[Call] = Arrivals("call")
        self.registrations: dict[str, str] = {}
        self.deployments: dict[str, list[dict[str, Any]]] = {}
        self.judge: Judge = lambda operation, body: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="recorder", daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.open()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        finally:
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def open(self) -> None:
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(DEADLINE_S)

    def close(self) -> None:
        """Nobody listens any more; connections end."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(DEADLINE_S)

    def fail(self, fault: Fault) -> None:
        """Answer every call so."""
        self.judge = lambda operation, body: fault

    def recover(self) -> None:
        self.judge = lambda operation, body: None

    def heartbeat(self, device: str) -> dict[str, Any]:
        """The body of the next SendHeartbeat of a device that was accepted."""
        return self._next("SendHeartbeat", device, True).body

    def asked_for_plan(self, device: str) -> None:
        """Wait until GetDeployments was answered for a device."""
        self._next("GetDeployments", device, True)

    def failed(self, device: str) -> Call:
        """Wait for a call of a device that went wrong."""
        return self.calls.next(lambda call: call.device == device and not call.accepted)

    def _next(self, operation: str, device: str, accepted: bool) -> Call:
        wanted = (operation, device, accepted)
        return self.calls.next(lambda call: (call.operation, call.device, call.accepted) == wanted)

    async def _open(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{operation}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, reuse_address=True).start()

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        operation, body = request.match_info["operation"], json.loads(await request.read())
        fault = self.judge(operation, body)
        answer = self._accepted(operation, body) if fault is None else _refused(fault)
        self.calls.put(Call(operation, body, fault is None))
        return answer

    def _accepted(self, operation: str, body: dict[str, Any]) -> web.Response:
        device = body["DeviceName"]
        if operation == "GetDeviceRegistration":
            return web.json_response(
                {"DeviceRegistration": self.registrations.get(device, "REGISTERED"), "CacheTTL": "300"}
            )
        if operation == "GetDeployments":
            return web.json_response({"Deployments": self.deployments.get(device, [])})
        return web.Response(status=200)


def _refused(fault: Fault) -> web.Response:
    if fault.page is not None:
        return web.Response(status=fault.status, text=fault.page, content_type="text/html")
    return web.json_response(
        {"Message": f"told to answer {fault.code}"}, status=fault.status, headers={"x-amzn-ErrorType": fault.code}
    )
