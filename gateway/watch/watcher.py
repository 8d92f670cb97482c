"""Watches the topics of a live broker with the gateway's settings, until it is cancelled.

It must never publish, keep a session, join a shared subscription or use the gateway's client id.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway import connections
from gateway.config import Settings
from gateway.errors import ConfigError, LimitError
from gateway.mqtt import Publish, TopicReader
from gateway.protocol import Channel, Topics
from gateway.retry import RetryPolicy
from gateway.watch.messages import Describer, Received
from gateway.watch.printer import Printer, stdout_writer

_CHANNELS = tuple(each for each in Channel if each is not Channel.HELLO)


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`target`: FLEET or FLEET/DEVICE; None: the fleets of the settings. `wide`: long lines are wrapped, not cut."""

    target: str | None = None
    as_json: bool = False
    wide: bool = False


async def watch(settings: Settings, options: WatchOptions) -> None:
    """Print each message until it is cancelled.

    Raises ConfigError for settings or a target that cannot work, BrokerError where the broker cannot be reached at the
    start, OSError where nobody takes the output.
    """
    heads = _heads(settings, options.target)
    endpoint = connections.mqtt_endpoint(settings)
    endpoint = replace(endpoint, client_id=f"edge-gateway-watch-{secrets.token_hex(4)}", session_expiry=0)
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    describer = Describer(settings.root)
    printer = Printer(
        stdout_writer(describer, options.as_json, options.wide).write,
        lambda error: loop.call_soon_threadsafe(failed.set_exception, error),
    )
    shows_retained = options.target is not None and "/" in options.target

    def on_message(message: Publish) -> None:
        received = Received(time.time(), message.topic, message.payload, message.retain)
        if message.topic.endswith(f"/{Channel.HELLO}"):
            describer.learn(received)  # here, since a message that is not shown is not described
        if shows_retained or not message.retain:
            printer.message(received)

    retained = [f"{head}/{Channel.HELLO}" for head in heads]
    others = [f"{head}/{channel}" for head in heads for channel in _CHANNELS]
    if shows_retained:
        retained, others = [*retained, *others], []
    reader = TopicReader(endpoint, retained, others, on_message)
    watching = f"watching {', '.join(heads)} on {settings.broker.host}:{settings.broker.port}; Ctrl-C ends it"
    tasks = [asyncio.ensure_future(_stay_connected(reader, printer, watching)), failed]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        printer.stop()
        await reader.close()


async def _stay_connected(reader: TopicReader, printer: Printer, watching: str) -> None:
    """Raises BrokerError where the first connection fails."""
    policy = RetryPolicy(asyncio.Event())
    await reader.open()
    printer.notice(watching)
    connect = policy.connecting(lambda error, attempts: printer.notice(f"cannot connect, trying again: {error}"))
    while True:
        printer.notice(f"connection lost, messages are missed until it is back: {await reader.wait_disconnected()}")
        await policy.pause(1)
        await connect(reader.open)
        printer.notice(f"connected again; {watching}")


def _heads(settings: Settings, target: str | None) -> Sequence[str]:
    """The topics' filters without the channel. Raises ConfigError."""
    if target is None:
        return [f"{settings.root}/{fleet}/+" for fleet in settings.fleets or ("+",)]
    fleet, has_device, name = target.partition("/")
    try:
        device = Topics(settings.root).device(fleet, name if has_device else "any")
    except LimitError as error:
        raise ConfigError([f"{target!r} is not FLEET or FLEET/DEVICE: {error.detail}"]) from None
    return [f"{settings.root}/{fleet}/{device.name if has_device else '+'}"]
