"""Wires the house by its settings, keeps it connected, and ends it cleanly. Decides nothing about messages."""

import asyncio
import gc
import signal
import time
from dataclasses import replace

import structlog

from gateway import connections
from gateway.cloud import boto_transport
from gateway.cloud.availability import Availability
from gateway.cloud.client import EdgeManagerClient
from gateway.config import Settings
from gateway.core.engine import Engine, Policy
from gateway.errors import BrokerError, ConfigError, StateError
from gateway.files.fetcher import ModelFileStore
from gateway.mqtt.session import MqttSession
from gateway.ops.call_monitor import CallMonitor
from gateway.ops.metrics import Metrics
from gateway.ops.status import StatusServer
from gateway.pipeline.backpressure import InFlightLimit
from gateway.pipeline.dispatcher import Dispatcher
from gateway.pipeline.inbound import InboundHandler
from gateway.pipeline.rate_limiter import DeviceRateLimiter
from gateway.protocol.topics import Topics
from gateway.retry import RetryPolicy, ShuttingDown
from gateway.storage.state_store import StateStore

LEAST_BURST = 500
"""Messages of one device's burst, however small the intake; else it takes a quarter of the intake at most."""
GROUP_RECONNECT_CAP = 1.0
"""Seconds: the longest wait before a member of a group tries to connect again. Mosquitto drops what comes meanwhile."""
STANDS = 10.0
"""Seconds after which a connection to the broker stands."""
CHANCE = 2
"""Connections in a row that may end sooner; more are no chance, and make the waits grow."""
LOOK_AGAIN = 5.0
"""Seconds between two looks for AWS credentials, where there are none."""

_log = structlog.get_logger()


async def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit status. Raises ConfigError for settings that cannot work."""
    _spare_the_collector()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return await Gateway(settings, stopping).run()


def _spare_the_collector() -> None:
    """Almost nothing here is garbage in a cycle, and going through all that waits to see so cost a fifth of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


class Gateway:
    """One gateway, from its settings to its end."""

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self._settings = settings
        self._stopping = stopping
        self._metrics = Metrics()
        self._policy = RetryPolicy(stopping, settings.retry_base, settings.retry_cap)
        watch = CallMonitor(self._metrics)
        service = connections.service(settings)
        self._session, self._endpoint, self._unsigned = service.session, service.url, False
        lane, most = service.lane(settings.concurrency)
        availability = Availability(most, settings.give_up_after, time.monotonic())
        self._cloud = EdgeManagerClient(
            lane, self._policy, availability, watch.on_attempt, watch.on_retry, watch.on_limit_change
        )
        self._metrics.concurrency_limit.set(most)
        self._store = StateStore(settings.state_dir)
        self._models = _models(settings, service.region, self._policy)
        topics = Topics(settings.root)
        rates = DeviceRateLimiter(
            settings.device_rate, min(settings.device_burst, max(settings.intake // 4, LEAST_BURST))
        )
        self._intake = InFlightLimit(settings.intake, settings.intake_bytes, rates, self._metrics)
        engine = Engine(_rules(settings))
        self._steward = Dispatcher(engine, topics, self._store, self._metrics, self._intake, settings.hello_wait)
        self._inbound = InboundHandler(
            engine,
            self._steward,
            topics,
            self._store,
            self._metrics,
            self._intake,
            rates,
            max_payload=settings.max_payload,
        )
        self._filters = topics.filters(settings.fleets, settings.group)
        former = self._store.filters()
        self._keep_filters([*former, *self._filters])
        told = topics.hello_filters(settings.fleets)
        self._broker = MqttSession(
            connections.broker(settings), self._filters, self._inbound, settings.intake, told, former
        )
        self._metrics.connected.set_function(lambda: self._broker.up)

    async def run(self) -> int:
        settings = self._settings
        _log.info("starting", broker=str(settings.broker), endpoint=self._endpoint, client_id=settings.client_id)
        if self._endpoint.endswith(".amazonaws.com"):
            _log.warning("AWS closed Edge Manager in 2024: set AWS_ENDPOINT_URL_SAGEMAKER_EDGE to where the API lives")
        if settings.client_id_will_change:
            _log.warning("client_id hangs on this container's name: set one, or what waits at the broker stays behind")
        required = "http_port" in settings.model_fields_set
        pages = StatusServer(settings.http_host, settings.http_port, self._metrics, self._unready, required=required)
        async with pages:
            self._steward.start(self._broker, self._cloud, self._models)
            self._inbound.start(self._broker, self._cloud)
            tasks = [asyncio.create_task(work) for work in (self._stay_connected(), self._find_credentials())]
            await self._stopping.wait()
            await self._drain()
            for task in tasks:
                task.cancel()
            self._inbound.stop()
            self._steward.stop()
            await self._broker.close()
            self._cloud.close()
            self._store.close()
        _log.info("stopped", unsettled=self._intake.messages)
        return 0

    def _unready(self) -> list[str]:
        reasons = []
        if not self._broker.up:
            reasons.append(f"not connected and subscribed to {self._settings.broker}")
        if self._unsigned:
            reasons.append("no AWS credentials")
        if self._stopping.is_set():
            reasons.append("stopping")
        return reasons

    async def _find_credentials(self) -> None:
        """Told at the start, and not only by the first call."""
        while not await asyncio.to_thread(boto_transport.has_credentials, self._session):
            if not self._unsigned:
                self._unsigned = True
                _log.error("no AWS credentials: calls cannot be signed, nothing is settled until boto3 finds some")
            await asyncio.sleep(LOOK_AGAIN)
        if self._unsigned:
            self._unsigned = False
            _log.info("AWS credentials found")

    async def _stay_connected(self) -> None:
        policy = self._policy
        if self._settings.group is not None:
            policy = replace(policy, cap=min(policy.cap, GROUP_RECONNECT_CAP))
        connect = policy.connecting(
            lambda error, attempts: _log.warning("no broker, trying again", reason=str(error), attempts=attempts)
        )
        short = 0  # connections in a row that did not stand
        try:
            while True:
                await connect(self._broker.open)
                _log.info("connected and subscribed", broker=str(self._settings.broker))
                began = time.monotonic()
                self._keep_filters(self._filters)
                fault = await self._broker.lost()
                _log.warning("the connection to the broker broke: it keeps what is not settled", reason=fault)
                short = short + 1 if time.monotonic() - began < STANDS else 0
                if short > CHANCE:
                    _log.error(
                        "connections to the broker do not last: does another gateway run under this client_id?",
                        client_id=self._settings.client_id,
                        in_a_row=short,
                    )
                    await policy.pause(short - CHANCE)
        except ShuttingDown:
            return
        except BrokerError:
            _log.exception("a fault of the gateway: please report it")

    def _keep_filters(self, filters: list[str]) -> None:
        try:
            self._store.keep_filters(filters)
        except StateError as error:
            _log.error("filters cannot be kept: one that is taken from the settings stays", error=str(error))

    async def _drain(self) -> None:
        """Take nothing more in, and let what is under way come to its end, for so long as the settings allow."""
        _log.info("stopping: what is under way ends, the broker keeps the rest", unsettled=self._intake.messages)
        try:
            async with asyncio.timeout(self._settings.drain_timeout):
                await self._leave_group()
                self._intake.stop()
                await self._steward.wait_idle()
        except TimeoutError:
            self._intake.stop()
            _log.warning("not all that is under way ended in drain_timeout: the broker delivers it again")

    async def _leave_group(self) -> None:
        """A plain subscription stays with the session. A share would go on filling while nobody empties it."""
        if self._settings.group is None:
            return  # the filters are plain
        try:
            await self._broker.give_up_share(lambda: self._steward.wait_idle(for_hellos=True))
            _log.info("left the group", group=self._settings.group, left_behind=self._intake.messages)
        except BrokerError as error:
            _log.warning("could not leave the group: the broker keeps the share for this client id", reason=str(error))


def _rules(settings: Settings) -> Policy:
    return Policy(
        ask_registration=settings.ask_registration,
        registered_values=frozenset(value.casefold() for value in settings.registered_values),
        plan_ttl=settings.plan_ttl,
        hello_wait=settings.hello_wait,
        merge_heartbeats=settings.merge_heartbeats,
        merge_bytes=settings.merge_bytes,
    )


def _models(settings: Settings, region: str, policy: RetryPolicy) -> ModelFileStore:
    """Raises ConfigError where the cache's folder cannot be used, or the AWS settings name no store."""
    connections.model_store(settings, region).close()  # a mistake is told at the start
    folder = settings.state_dir / "models"
    try:
        return ModelFileStore(lambda: connections.model_store(settings, region), folder, settings.cache_bytes, policy)
    except OSError as error:
        raise ConfigError([f"state_dir: {folder} cannot be used ({error.strerror})"]) from error
