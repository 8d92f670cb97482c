"""The life of the service: lock, database, the port, the pages. It must never decide what is answered."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from gateway.errors import explain
from gateway.lock import FolderInUse, FolderLock
from gateway.manager.alerts import WebhookConfig
from gateway.manager.control import ArnScope, KeyRing, OtherS3
from gateway.manager.control.access import AccessKey
from gateway.manager.errors import ManagerError, StoreUnavailable
from gateway.manager.http.handler import MAX_OBJECT, Calls, ControlCalls, PageTable, RequestHandler
from gateway.manager.http.health import HealthPage
from gateway.manager.http.keys import KeyReader
from gateway.manager.http.limits import Limits
from gateway.manager.http.listener import ManagerServer
from gateway.manager.http.metrics_page import MetricsPage
from gateway.manager.loopback import is_loopback
from gateway.manager.metrics import ManagerMetrics
from gateway.manager.service import Service, running
from gateway.manager.store import HistoryLimits, ObjectStore, Place, Store, open_store, restrict_files

TRANSACTION_LIMIT = 5.0
"""Seconds that a transaction may take where the server of the database is slow, or hangs."""
OTHER_FILES = 128
"""Open files that are kept for all else than connections: the database, model files, the log."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of one server. Raises ManagerError where a value cannot work.

    Port 0 takes a free one. `scope`: of ARNs; buckets are in its region. `access_key`: an admin's, beside those of
    the database. `registered_ttl`, `unregistered_ttl`: CacheTTL of the two answers, in seconds. `max_body`: bytes of
    a request's body at most; `max_object`: of an object that is put. `s3_endpoint`: the URL of another S3, of which
    jobs may take files; None: of none. `webhook`: is told of alerts. `max_connections`: at once; fewer where the limit
    of open files says so.
    """

    place: Place
    host: str = "127.0.0.1"
    port: int = 0
    access_key: AccessKey | None = None
    registered_ttl: int = 300
    unregistered_ttl: int = 60
    max_body: int = 4 * 1024 * 1024
    max_object: int = MAX_OBJECT
    max_connections: int = 4096
    s3_endpoint: str | None = None
    webhook: WebhookConfig | None = None
    history: HistoryLimits = field(default_factory=HistoryLimits)
    scope: ArnScope = field(default_factory=ArnScope)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ManagerError(f"--port {self.port} is not a port: 0 (a free one) to 65535")
        for name in ("registered_ttl", "unregistered_ttl"):
            if getattr(self, name) < 0:
                option = f"--{name.replace('_', '-')}"
                raise ManagerError(f"{option} is {getattr(self, name)}: seconds, 0 or more")
        if self.max_connections < 1:
            raise ManagerError(f"--max-connections is {self.max_connections}: 1 or more")
        if self.s3_endpoint is not None:
            self._check_s3_endpoint(self.s3_endpoint)
        if self.history.days < 1:
            raise ManagerError(f"--history-days is {self.history.days}: 1 or more")

    def _check_s3_endpoint(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (ValueError, KeyError):
            raise ManagerError(f"--s3-endpoint-url '{url}' is not a URL: http://HOST:PORT or https://HOST") from None
        host = parts.hostname or ""
        if not host or parts.path.strip("/") or parts.query:
            raise ManagerError(f"--s3-endpoint-url '{url}': should be http://HOST:PORT or https://HOST")
        if port == self.port and (host == self.host or is_loopback(host)):
            raise ManagerError(f"--s3-endpoint-url '{url}' is this manager itself: its own files need no option")


@dataclass(frozen=True, slots=True)
class Served:
    """`url`: without a last slash. `signed`: signatures are checked. The others are open while it serves."""

    url: str
    signed: bool
    store: Store
    objects: ObjectStore
    service: Service


@contextlib.asynccontextmanager
async def start_server(config: ServerConfig) -> AsyncIterator[str]:
    """`serving`, of which it yields the URL alone."""
    async with serving(config) as served:
        yield served.url


@contextlib.asynccontextmanager
async def serving(config: ServerConfig) -> AsyncIterator[Served]:
    """The service on the running loop; it listens before the block is entered.

    Raises ManagerError: the database cannot be opened, another process serves it, the address is in use, or others
    could reach it and no access key was ever made.
    """
    with _locked(config.place), _opened(config.place) as store:
        ring = await asyncio.to_thread(_read_keys, config, store)
        metrics = ManagerMetrics()
        ttls = config.registered_ttl, config.unregistered_ttl
        objects = ObjectStore(config.place.data, store)
        other_s3 = None if config.s3_endpoint is None else OtherS3(config.s3_endpoint, config.max_object)
        with contextlib.suppress(StoreUnavailable):  # the next change of an object does it
            await asyncio.to_thread(objects.check_audit)
        async with running(
            store, objects, *ttls, config.history, metrics, config.scope, other_s3, config.webhook
        ) as service:
            limits = Limits(_allowed_connections(config), config.max_body)
            keys = KeyReader(ring)
            handler = make_handler(config, store, service.handle, service.control, metrics, objects, keys)
            server = ManagerServer(handler, limits, metrics.count_refused)
            metrics.connections, metrics.connections_limit = server.connection_count, limits.connections
            metrics.history_limit = config.history.size
            keys.start()
            try:
                try:
                    port = await server.start(config.host, config.port)
                except (OSError, UnicodeError) as error:
                    raise ManagerError(explain(error, f"{config.host}:{config.port}")) from error
                host = f"[{config.host}]" if ":" in config.host else config.host
                yield Served(f"http://{host}:{port}", ring.checks, store, objects, service)
            finally:
                await server.close()
                await handler.close()
                await keys.close()


def make_handler(
    config: ServerConfig,
    store: Store,
    calls: Calls,
    control: ControlCalls,
    metrics: ManagerMetrics | None = None,
    objects: ObjectStore | None = None,
    keys: KeyReader | None = None,
) -> RequestHandler:
    """Answers all requests; `calls` those of the Edge API, `control` those of the control plane.

    `metrics`, `objects` None: nobody else needs them. `keys` None: the one of `config` alone.
    """
    metrics, objects = metrics or ManagerMetrics(), objects or ObjectStore(config.place.data, store)
    pages, keys = _pages(store, metrics), keys or KeyReader(KeyRing(store, config.access_key))
    region = config.scope.region
    return RequestHandler(calls, control, objects, pages, keys, config.max_body, metrics, config.max_object, region)


def _read_keys(config: ServerConfig, store: Store) -> KeyRing:
    """Raises ManagerError where anybody could call, and read and write models."""
    ring = KeyRing(store, config.access_key)
    if ring.read():
        restrict_files(config.place)
    if not ring.checks and not is_loopback(config.host):
        todo = "`edge-gateway manager keys add --role gateway` makes one, or listen on 127.0.0.1"
        raise ManagerError(f"--host {config.host}: without an access key it serves this machine alone: {todo}")
    return ring


def _opened(place: Place) -> contextlib.closing[Store]:
    return contextlib.closing(open_store(place, create=True, limit=TRANSACTION_LIMIT))


def _pages(store: Store, metrics: ManagerMetrics) -> PageTable:
    def on_no_reads(error: Exception) -> None:
        event = "the database cannot be read: every call fails; check the disk and the data folder"
        LOG.error(event, detail=str(error))

    def on_no_writes(error: Exception) -> None:
        event = "the database accepts no changes: SendHeartbeat fails; check the disk and the data folder"
        LOG.error(event, detail=str(error))

    return {
        "/healthz": HealthPage(store.check_reads, on_no_reads),
        "/readyz": HealthPage(store.check_writes, on_no_writes),
        "/metrics": MetricsPage(metrics, store),
    }


def _allowed_connections(config: ServerConfig) -> int:
    """Beyond the limit of open files nothing could be accepted, nor a file be opened."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = config.max_connections
    if files != resource.RLIM_INFINITY:
        allowed = max(min(allowed, files - OTHER_FILES), 1)
    if allowed < config.max_connections:
        event = (
            "the limit of open files allows fewer connections than --max-connections; raise it (LimitNOFILE, ulimit -n)"
        )
        LOG.warning(event, connections=allowed, open_files=files)
    return allowed


@contextlib.contextmanager
def _locked(place: Place) -> Iterator[None]:
    """SQLite has one `serve`. On PostgreSQL several processes may share the folder, which has copies of model files."""
    try:
        place.data.mkdir(parents=True, exist_ok=True)
        if place.url is not None:
            yield
            return
        lock = FolderLock(place.data)
    except FolderInUse as holder:
        raise ManagerError(f"an Edge Manager serves {place.data} ({holder}): stop it, or give another --data") from None
    except OSError as error:
        raise ManagerError(explain(error, place.data)) from error
    with contextlib.closing(lock):
        yield
