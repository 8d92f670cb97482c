"""Builds the gateway of the settings, keeps it connected, and stops it cleanly. It never decides about a message."""

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace

import structlog

from gateway import connections
from gateway.cloud import Availability, EdgeManagerClient
from gateway.config import Settings
from gateway.core import Engine, Policy
from gateway.errors import BrokerError, ConfigError, StateError, explain
from gateway.files import ModelFileStore
from gateway.mqtt import BrokerLimits, DroppedCount, MqttSession, restrictions
from gateway.ops import CallMonitor, DropMonitor, Metrics, StatusServer
from gateway.pipeline import DeviceRateLimiter, Dispatcher, InboundHandler, InFlightLimit, SessionWatch
from gateway.protocol import Channel, Topics
from gateway.retry import RetryPolicy, ShuttingDown
from gateway.stderr import lost_lines
from gateway.storage import StateStore

MIN_BURST = 500
"""Messages of one device's burst, however small `intake` is; else a quarter of `intake` at most."""
GROUP_RECONNECT_CAP = 1.0
"""Seconds that a member of a group waits at most before it connects again: Mosquitto drops what comes meanwhile."""
STABLE_AFTER = 10.0
"""Seconds after which a connection to the broker counts as stable."""
SHORT_CONNECTIONS_ALLOWED = 2
"""Connections in a row that may end sooner; more make the waits grow."""
REFUSALS_ALLOWED = 3
"""Times in a row that the broker may refuse the count of dropped messages; then it is not asked again."""
CREDENTIALS_NOTED = 3.0
"""Seconds after which the log says that the source of the AWS credentials does not answer."""

_log = structlog.get_logger()


async def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit status. Raises ConfigError for settings that cannot work."""
    _tune_gc()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return await Gateway(settings, stopping).run()


def _tune_gc() -> None:
    """Few objects are in reference cycles, and to look for them among all queued messages took a fifth of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


class Gateway:
    """One gateway, from start to stop."""

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self._settings = settings
        self._stopping = stopping
        self._metrics = Metrics(lost_lines)
        self._policy = RetryPolicy(stopping, settings.retry_base, settings.retry_cap)
        monitor = CallMonitor(self._metrics)
        service = connections.edge_manager(settings)
        self._credentials, self._endpoint, self._no_credentials = service.credentials, service.url, False
        transport, concurrency = service.make_transport(settings.concurrency)
        availability = Availability(concurrency, settings.give_up_after, time.monotonic())
        self._client = EdgeManagerClient(
            transport, self._policy, availability, monitor.on_attempt, monitor.on_retry, monitor.on_limit_change
        )
        self._metrics.concurrency_limit.set(concurrency)
        self._store = StateStore(settings.state_dir)
        self._files = _file_store(settings, service, self._policy)
        topics = Topics(settings.root)
        burst = min(settings.device_burst, max(settings.intake // 4, MIN_BURST))
        rates = DeviceRateLimiter(settings.device_rate, burst)
        self._in_flight = InFlightLimit(settings.intake, settings.intake_bytes, rates, self._metrics)
        self._engine = engine = Engine(_core_policy(settings))
        self._dispatcher = Dispatcher(
            engine, topics, self._store, self._metrics, self._in_flight, settings.hello_wait, settings.block_expiry
        )
        watch = SessionWatch(connections.session_file(settings), self._metrics)
        limits = self._in_flight, rates, settings.max_payload, watch
        self._inbound = InboundHandler(engine, self._dispatcher, topics, self._store, self._metrics, *limits)
        group = settings.group.get_secret_value() if settings.group else None
        self._filters = topics.filters(settings.fleets, group)
        hellos, previous = topics.hello_filters(settings.fleets), self._store.filters()
        live = topics.filters(settings.fleets, group, (Channel.LIVE,))
        self._save_filters([*previous, *self._filters])
        endpoint = connections.mqtt_endpoint(settings)
        self._mqtt = MqttSession(endpoint, self._filters, self._inbound, settings.intake, hellos, previous, live)
        drops = DropMonitor(self._metrics)
        self._dropped = DroppedCount(endpoint, lambda total: drops.on_total(total, time.time()))
        self._limits = BrokerLimits()
        self._metrics.connected.set_function(lambda: self._mqtt.up)

    async def run(self) -> int:
        settings = self._settings
        _log.info("starting", broker=str(settings.broker), endpoint=self._endpoint, client_id=settings.client_id)
        if self._endpoint.endswith(".amazonaws.com"):
            _log.warning("AWS closed Edge Manager in 2024: set AWS_ENDPOINT_URL_SAGEMAKER_EDGE to where the API is")
        if settings.client_id_will_change:
            _log.warning("client_id depends on the container's name: set one, or a new container misses messages")
        where, required = (settings.http_host, settings.http_port), "http_port" in settings.model_fields_set
        async with StatusServer(*where, self._metrics, self._readiness_problems, required=required):
            self._dispatcher.start(self._mqtt, self._client, self._files)
            self._inbound.start(self._mqtt, self._client)
            loops = self._reconnect_loop, self._wait_for_credentials, self._watch_dropped_count
            tasks = [asyncio.create_task(self._keep_running(each)) for each in loops]
            await self._stopping.wait()
            await self._drain()
            for task in tasks:
                task.cancel()
            self._inbound.stop()
            self._dispatcher.stop()
            await self._dropped.close()
            await self._mqtt.close()
            self._client.close()
            self._credentials.close()
            self._store.close()
        _log.info("stopped", unacknowledged=self._in_flight.messages)
        return 0

    def _readiness_problems(self) -> list[str]:
        problems = []
        if not self._mqtt.up:
            problems.append(f"not connected and subscribed to {self._settings.broker}")
        if self._no_credentials:
            problems.append("no AWS credentials")
        if self._engine.clock_is_wrong:
            problems.append("the clock of this machine is wrong")
        if self._stopping.is_set():
            problems.append("stopping")
        return problems

    async def _keep_running(self, loop: Callable[[], Coroutine[None, None, None]]) -> None:
        """Begin it again after an error that nobody expects: the gateway would do without it until the next start."""
        failures = 0
        with suppress(ShuttingDown):
            while True:
                try:
                    await loop()
                    return
                except ShuttingDown:
                    raise
                except Exception:
                    _log.exception("internal error: please report this traceback")
                failures += 1
                await self._policy.pause(failures)

    async def _wait_for_credentials(self) -> None:
        """Log at the start that there are none, and not only at the first call. Raises ShuttingDown."""
        failures, logged = 0, ""
        while (reason := await self._credentials_problem()) is not None:
            self._no_credentials = True
            if reason != logged:
                logged = reason
                _log.error("no AWS credentials: calls cannot be signed, messages stay at the broker", reason=reason)
            failures += 1
            await self._policy.pause(failures)
        if self._no_credentials:
            self._no_credentials = False
            _log.info("AWS credentials found")

    async def _credentials_problem(self) -> str | None:
        """Why there are none, when their source has answered; None: there are."""
        search = asyncio.create_task(asyncio.to_thread(self._credentials.problem))
        done, _ = await asyncio.wait((search,), timeout=CREDENTIALS_NOTED)
        if not done:
            self._no_credentials = True
            _log.warning(
                "waiting for AWS credentials: their source does not answer yet; calls cannot be signed",
                source=self._credentials.asked,
            )
        problem = await search
        return None if problem is None else str(problem)

    async def _reconnect_loop(self) -> None:
        """Raises ShuttingDown."""
        policy = self._policy
        if self._settings.group is not None:
            policy = replace(policy, cap=min(policy.cap, GROUP_RECONNECT_CAP))
        connect = policy.connecting(
            lambda error, attempts: _log.warning(
                "cannot connect to the broker, trying again", reason=str(error), attempts=attempts
            )
        )
        short = 0  # connections in a row that ended before STABLE_AFTER
        while True:
            await connect(self._mqtt.open)
            _log.info("connected and subscribed", broker=str(self._settings.broker))
            opened = time.monotonic()
            self._log_restrictions()
            if self._mqtt.refused:
                _log.warning(
                    "the broker refuses the subscription of live: a device that is gone is not shown; allow it",
                    refused=self._mqtt.refused,
                )
            self._save_filters(self._filters)
            reason = await self._mqtt.wait_disconnected()
            _log.warning("connection to the broker lost: it keeps unacknowledged messages", reason=reason)
            short = short + 1 if time.monotonic() - opened < STABLE_AFTER else 0
            if short > SHORT_CONNECTIONS_ALLOWED:
                _log.error(
                    "connections to the broker do not last: the waits between the attempts grow",
                    client_id=self._settings.client_id,
                    in_a_row=short,
                    reason=reason,
                )
                await policy.pause(short - SHORT_CONNECTIONS_ALLOWED)

    async def _watch_dropped_count(self) -> None:
        """While the broker lets us; nothing is said where it does not. Raises ShuttingDown."""
        refusals = 0
        while refusals < REFUSALS_ALLOWED:
            if await self._policy.connecting(lambda error, attempts: None)(self._dropped.open):
                refusals = 0
                await self._dropped.wait_disconnected()
            else:
                refusals += 1
            await self._policy.pause(1 + refusals)
        await self._dropped.close()

    def _log_restrictions(self) -> None:
        """What the broker's limits stop, when they are new."""
        limits, wanted = self._mqtt.limits, connections.wanted(self._settings)
        if limits != self._limits:
            self._limits = limits
            if stopped := [f"{each.text}; {each.todo}" for each in restrictions(limits, wanted)]:
                _log.warning("the broker's limits stop something that the gateway does", limits=stopped)

    def _save_filters(self, filters: list[str]) -> None:
        try:
            self._store.save_filters(filters)
        except StateError as error:
            _log.error("cannot save subscriptions: a fleet that you remove stays subscribed", error=str(error))

    async def _drain(self) -> None:
        """Stop reading, and wait until the calls in flight have ended, for `drain_timeout` at most."""
        count = self._in_flight.messages
        _log.info("stopping: calls in flight end, the broker keeps the rest", unacknowledged=count)
        try:
            async with asyncio.timeout(self._settings.drain_timeout):
                await self._leave_shared_subscription()
                self._inbound.stop_reading()
                await self._dispatcher.wait_idle()
        except TimeoutError:
            self._inbound.stop_reading()
            _log.warning("drain_timeout is over: the broker delivers again what is not acknowledged")

    async def _leave_shared_subscription(self) -> None:
        """A plain subscription stays in the session. For a shared one the broker would go on queueing messages."""
        if self._settings.group is None:
            return
        try:
            await self._mqtt.leave_shared(lambda: self._dispatcher.wait_idle(for_hellos=True))
            _log.info("left the shared subscription", left_behind=self._in_flight.messages)
        except BrokerError as error:
            _log.warning("cannot leave the group: messages still queue for this client_id", reason=str(error))


def _core_policy(settings: Settings) -> Policy:
    return Policy(
        ask_registration=settings.ask_registration,
        registered_values=frozenset(value.casefold() for value in settings.registered_values),
        fleets=frozenset(settings.fleets),
        plan_ttl=settings.plan_ttl,
        hello_wait=settings.hello_wait,
        merge_heartbeats=settings.merge_heartbeats,
        merge_bytes=settings.merge_bytes,
    )


def _file_store(settings: Settings, service: connections.EdgeManagerConnection, policy: RetryPolicy) -> ModelFileStore:
    """Raises ConfigError where the cache's folder cannot be used, or the AWS settings name no endpoint of S3."""
    connections.s3_client(settings, service).close()  # raises for a mistake now, not at the first read
    folder = settings.state_dir / "models"
    try:
        return ModelFileStore(lambda: connections.s3_client(settings, service), folder, settings.cache_bytes, policy)
    except OSError as error:
        raise ConfigError([f"state_dir: {explain(error, folder)}"]) from error
