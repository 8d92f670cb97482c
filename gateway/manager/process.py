"""`serve` as a process: keys from a file or the environment, log, start line, end by a signal. Decides no answer.

The start line goes to stdout, the log to stderr: a program that waits for the line need not read more.
"""

import asyncio
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.log import configure_log
from gateway.manager.alerts import WebhookConfig
from gateway.manager.errors import ManagerError
from gateway.manager.http import LOG, AccessKey, Served, ServerConfig, serving
from gateway.stderr import discard_stdout

if TYPE_CHECKING:
    from gateway.manager.console import ConsoleConfig

SECRET = "EDGE_MANAGER_SECRET_KEY"
WEBHOOK_SECRET = "EDGE_MANAGER_WEBHOOK_SECRET"


def read_access_key(key_id: str | None, secret_file: Path | None) -> AccessKey | None:
    """The access key where both halves are given, None where neither is. The file goes before the environment.

    Raises ManagerError where one half is missing or the secret is empty; OSError where the file cannot be read.
    """
    secret = os.environ.get(SECRET) if secret_file is None else secret_file.read_text().strip()
    if not key_id and secret is None:
        return None
    if not key_id or not secret:
        raise ManagerError(f"signatures need both: an access key, and a secret key (--secret-key-file or {SECRET})")
    return AccessKey(key_id, secret)


def read_webhook(url: str | None, secret_file: Path | None) -> WebhookConfig | None:
    """None: no URL is given. The file of the secret goes before the environment.

    Raises ManagerError: the URL cannot work, or the secret is empty; OSError where the file cannot be read.
    """
    secret = os.environ.get(WEBHOOK_SECRET) if secret_file is None else secret_file.read_text().strip()
    if not url:
        return None
    if secret == "":
        raise ManagerError(f"the secret of the webhook is empty (--webhook-secret-file or {WEBHOOK_SECRET})")
    return WebhookConfig(url, secret)


def serve_until_signal(config: ServerConfig, console: "ConsoleConfig | None") -> None:
    """Serves until SIGTERM or SIGINT, then ends requests in flight and returns. Raises ManagerError and OSError.

    `console` None: there is none, and what it needs is not loaded.
    """
    configure_log()
    _raise_open_files()
    asyncio.run(_serve(config, console))


def _raise_open_files() -> None:
    """To the most that this user may have: each connection is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass  # macOS says "unlimited" and means less


async def _serve(config: ServerConfig, console: "ConsoleConfig | None") -> None:
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    async with serving(config) as served, _console(console, served, config) as console_url:
        _tune_threads()
        _print_start_line(served, config, console_url)
        await signalled.wait()
    LOG.info("stopped")


@asynccontextmanager
async def _console(console: "ConsoleConfig | None", served: Served, config: ServerConfig) -> AsyncIterator[str | None]:
    if console is None:
        yield None
        return
    from gateway.manager.console import serving_console

    control, objects = served.service.control_here, served.objects
    async with serving_console(console, config.place, served.store, control, objects) as url:
        yield url


def _tune_threads() -> None:
    """Calls must not wait for a thread that computes: a search for garbage among all that was loaded at the start stops
    the others for 50 ms, and a group of heartbeats asks for the interpreter some forty times, each for 5 ms at most.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    sys.setswitchinterval(0.001)


def _print_start_line(served: Served, config: ServerConfig, console: str | None) -> None:
    url, signed = served.url, served.signed
    if sys.stdout is not None and sys.stdout.isatty():  # None: it was closed at the start
        line = (
            f"Edge Manager on {url}, data in {config.place.data}, signatures {'checked' if signed else 'not checked'}"
            f"{'' if console is None else f', console on {console}'}"
        )
    else:
        data = str(config.place.data.resolve())
        line = json.dumps({"event": "listening", "url": url, "console": console, "data": data, "signed": signed})
    try:
        typer.echo(line)
    except OSError as error:
        discard_stdout()
        LOG.warning("the start line could not be written to stdout; it serves all the same", url=url, reason=str(error))
    if not signed:
        LOG.info("no access key was ever made: only this machine can call, and signatures are not checked")
