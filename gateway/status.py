"""The pages by which an operator's machines look at the gateway: /metrics, /healthz, /readyz, on one port.

Reads, never changes anything; what it shows is handed in.
"""

import errno
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

from gateway.errors import ConfigError
from gateway.metrics import CONTENT_TYPE, Metrics

Readiness = Callable[[], Sequence[str]]
"""Why the gateway is not ready, a sentence for each reason; empty = messages that come are on their way."""

FAULTS_OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES)
_SHUTDOWN = 1.0  # seconds that a page in progress may take at the end
_INDEX = """\
/metrics  Prometheus metrics
/healthz  200 while the event loop answers
/readyz   200 while connected and subscribed, with AWS credentials, and not stopping; else 503 and the reasons
"""

_log = structlog.get_logger()


class StatusPages:
    """Serves the pages while its context is entered. `port` 0 = any free one; None = serves nothing.

    `required=False`: a busy port is a warning. Else entering raises ConfigError, and always for a host that is none.
    """

    def __init__(
        self, host: str, port: int | None, metrics: Metrics, readiness: Readiness, *, required: bool = True
    ) -> None:
        self._host = host
        self._port = port
        self._required = required
        self._metrics = metrics
        self._readiness = readiness
        self._runner = web.AppRunner(self._app(), access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN)
        self.port: int | None = None
        """The TCP port that is served; None before, after, and where nothing is."""

    def __repr__(self) -> str:
        return f"<StatusPages {self._host}:{self.port or 'not served'}>"

    async def __aenter__(self) -> Self:
        if self._port is not None:
            await self._runner.setup()
            try:
                await self._listen(self._port)
            except BaseException:
                await self._runner.cleanup()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.port = None
        await self._runner.cleanup()

    async def _listen(self, port: int) -> None:
        try:
            await web.TCPSite(self._runner, self._host, port).start()
        except (OSError, UnicodeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            if not (isinstance(error, OSError) and error.errno in FAULTS_OF_THE_PORT):
                raise ConfigError(
                    [f"http_host: {self._host} should be an address of this machine ({reason})"]
                ) from None
            if self._required:
                mistake = f"{port} cannot be served on {self._host}; should be a free port, or off ({reason})"
                raise ConfigError([f"http_port: {mistake}"]) from None
            _log.warning("no status pages: metrics and health cannot be asked for", port=port, reason=reason)
            return
        self.port = int(self._runner.addresses[0][1])
        _log.info("status pages served", url=f"http://{self._host}:{self.port}/")

    def _app(self) -> web.Application:
        app = web.Application()
        pages: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
            "/": self._index,
            "/metrics": self._show_metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
        }
        app.add_routes([web.get(path, page) for path, page in pages.items()])
        return app

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(text=_INDEX)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _alive(self, _: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _ready(self, _: web.Request) -> web.Response:
        reasons = list(self._readiness())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)
