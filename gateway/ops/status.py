"""Serves /metrics, /healthz and /readyz over HTTP, on one port. It must never change what it shows."""

import errno
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Self

import structlog

from gateway.errors import ConfigError, explain
from gateway.ops.http_server import HttpServer, PageResponse
from gateway.ops.metrics import CONTENT_TYPE, Metrics

Readiness = Callable[[], Sequence[str]]
"""The reasons why the gateway is not ready, one sentence each; none: it is ready."""

PORT_ERRORS = (errno.EADDRINUSE, errno.EACCES)
_INDEX = b"""\
/metrics  Prometheus metrics
/healthz  200 while the event loop answers
/readyz   200 while connected and subscribed, with AWS credentials, and not stopping; else 503 and the reasons
"""

_log = structlog.get_logger()


class StatusServer:
    """Serves while its context is entered. `port` 0: any free one; None: nothing is served.

    Entering raises ConfigError for a wrong host, and for a busy port if `required`; else that is a warning.
    """

    def __init__(
        self, host: str, port: int | None, metrics: Metrics, readiness: Readiness, *, required: bool = True
    ) -> None:
        self._host = host
        self._port = port
        self._required = required
        self._readiness = readiness
        self._server = HttpServer(
            {
                "/": lambda: PageResponse("text/plain; charset=utf-8", _INDEX),
                "/metrics": lambda: PageResponse(CONTENT_TYPE, metrics.render()),
                "/healthz": lambda: _json({"alive": True}),
                "/readyz": self._ready,
            }
        )
        self.port: int | None = None
        """The TCP port that is served; None: nothing is served."""

    def __repr__(self) -> str:
        return f"<StatusServer {self._host}:{self.port or 'not served'}>"

    async def __aenter__(self) -> Self:
        if self._port is not None:
            await self._listen(self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.port = None
        await self._server.close()

    async def _listen(self, port: int) -> None:
        try:
            self.port = await self._server.start(self._host, port)
        except (OSError, UnicodeError) as error:
            reason = explain(error)
            if not (isinstance(error, OSError) and error.errno in PORT_ERRORS):
                mistake = f"{self._host} should be an address of this machine ({reason})"
                raise ConfigError([f"http_host: {mistake}"]) from None
            if self._required:
                mistake = f"{port} cannot be served on {self._host}; should be a free port, or off ({reason})"
                raise ConfigError([f"http_port: {mistake}"]) from None
            _log.warning("status pages are not served: http_port is busy", port=port, reason=reason)
            return
        _log.info("status pages served", url=f"http://{self._host}:{self.port}/")

    def _ready(self) -> PageResponse:
        reasons = list(self._readiness())
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return _json({"ready": not reasons, "reasons": reasons}, status)


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> PageResponse:
    return PageResponse("application/json", json.dumps(content).encode(), status)
