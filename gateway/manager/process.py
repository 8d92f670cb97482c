"""`serve` as a process: keys from a file or the environment, the log, the start line, the end by a signal.

The start line goes to stdout, the log to stderr: whoever waits for the line need not read on.
"""

import asyncio
import ipaddress
import json
import os
import signal
import sys
from pathlib import Path

import structlog

from gateway.manager.config import Config
from gateway.manager.errors import ManagerError
from gateway.manager.http.server import LOG, running
from gateway.manager.http.signatures import Keys

SECRET = "EDGE_MANAGER_SECRET_KEY"


def read_keys(access: str | None, secret_file: Path | None) -> Keys | None:
    """The keys where both are given, None where neither is. A file goes before the environment.

    Raises ManagerError where one is given without the other, or the secret is empty; OSError where the file cannot
    be read.
    """
    secret = os.environ.get(SECRET) if secret_file is None else secret_file.read_text().strip()
    if not access and secret is None:
        return None
    if not access or not secret:
        raise ManagerError(f"signatures need both: an access key, and a secret key (--secret-key-file or {SECRET})")
    return Keys(access, secret)


def serve_until_told(config: Config) -> None:
    """Serves until SIGTERM or SIGINT, then ends what is in flight and returns. Raises ManagerError and OSError."""
    _configure_log()
    asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with running(config) as url:
        _announce(url, config)
        await told.wait()
    LOG.info("stopped")


def _announce(url: str, config: Config) -> None:
    signed = config.keys is not None
    if sys.stdout.isatty():
        line = f"Edge Manager on {url}, data in {config.data}, signatures {'checked' if signed else 'not checked'}"
    else:
        line = json.dumps({"event": "listening", "url": url, "data": str(config.data.resolve()), "signed": signed})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    if not signed and not _is_loopback(config.host):
        LOG.warning("whoever reaches this address may call and read models: configure keys", host=config.host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _configure_log() -> None:
    """For people on a terminal, JSON otherwise."""
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not terminal:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(processors=[*shared, renderer], logger_factory=structlog.PrintLoggerFactory(sys.stderr))
