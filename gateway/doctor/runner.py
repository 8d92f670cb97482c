"""Runs the doctor: the probes, then the checks of what they found, each after those that it depends on."""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway import connections
from gateway.config import Settings
from gateway.doctor.checks import isolation
from gateway.doctor.checks.broker import check_anonymous, check_behaviour, check_client_ids, is_mosquitto_2_1
from gateway.doctor.checks.cloud import check_credentials, check_model_store, check_service
from gateway.doctor.checks.connection import TlsFailure, check_connect, check_limits, check_reachable, check_tls
from gateway.doctor.checks.device import check_devices, check_group
from gateway.doctor.checks.disk import check_disk
from gateway.doctor.checks.mosquitto_files import check_files, files_unknown
from gateway.doctor.checks.reload import check_reload
from gateway.doctor.checks.session_loss import check_session_loss
from gateway.doctor.parsers.acl_file import Acl
from gateway.doctor.parsers.mosquitto_conf import MosquittoConf
from gateway.doctor.parsers.password_file import PasswordUsers
from gateway.doctor.probes import mosquitto_files
from gateway.doctor.probes.broker import probe_behaviour, probe_client_ids
from gateway.doctor.probes.cloud import probe_credentials, probe_model_store, probe_service
from gateway.doctor.probes.connection import connect_mqtt, connect_tcp_tls, is_anonymous_allowed
from gateway.doctor.probes.device import probe_device
from gateway.doctor.probes.disk import probe_disk
from gateway.doctor.probes.session_loss import probe_session_loss
from gateway.doctor.result import CheckResult, Level, ProbeFailure, unknown
from gateway.mqtt import BrokerEndpoint

NAME_THE_CONF = "name the broker's mosquitto.conf by --conf"
BOARD_FILE = Path("gateway", "probe.json")
"""The board file of `doctor/probe`, below the site's folder."""
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options. `site`: the folder of the identities. `model`: an `s3://BUCKET/KEY`.

    `board`: the board file of `doctor/probe`, where it is not the site's.
    """

    site: Path
    board: Path | None = None
    conf: Path | None = None
    devices: int | None = None
    model: str | None = None


async def run_checks(settings: Settings, options: Options) -> list[CheckResult]:
    """All results. Raises ConfigError for settings that cannot work."""
    conf = mosquitto_files.read_conf(options.conf) if options.conf else None
    service = connections.edge_manager(settings)
    s3 = connections.s3_client(settings, service)
    endpoint = connections.mqtt_endpoint(settings)
    async with asyncio.TaskGroup() as group:  # unlike gather, it waits for all: at a Ctrl-C each cleans up first
        broker = group.create_task(_check_broker(settings, endpoint, options, conf is not None))
        cloud = group.create_task(_check_cloud(settings, service, s3, options.model))
        disk = await asyncio.to_thread(probe_disk, settings.state_dir)
    results, version = broker.result()
    anonymous = check_anonymous(True) in results
    newer = is_mosquitto_2_1(version)
    files = await asyncio.to_thread(_check_files, conf, settings, options.devices, anonymous, newer)
    loss = check_session_loss(probe_session_loss(settings), time.time())
    return [*results, *files, *cloud.result(), check_disk(disk, settings.cache_bytes), loss]


async def _check_broker(
    settings: Settings, endpoint: BrokerEndpoint, options: Options, mosquitto: bool
) -> tuple[list[CheckResult], str]:
    """The results, as far as the broker can be reached, and its name and version where it publishes them."""
    reached = await connect_tcp_tls(endpoint)
    results = [check_reachable(reached)]
    if reached.problem:
        return results, ""
    results.append(check_tls(reached, time.time()))
    if isinstance(reached.tls, TlsFailure):
        return results, ""
    connected = await connect_mqtt(endpoint)
    results.append(check_connect(connected, settings.broker))
    if connected.connack is None:
        return results, ""
    anonymous = await is_anonymous_allowed(endpoint, settings.mqtt_cert_file is not None)
    limits = check_limits(connected.connack, connections.wanted(settings), settings.keepalive)
    results += [limits, check_anonymous(anonymous)]
    results.append(check_client_ids(await probe_client_ids(endpoint)))
    if results[-1].level is Level.FAIL:
        return results, ""
    async with asyncio.TaskGroup() as group:
        board_file = options.board or options.site / BOARD_FILE
        trial = group.create_task(probe_device(board_file, endpoint, settings.root))
        behaviour = await probe_behaviour(endpoint, settings.root, _operator(endpoint, options.site))
    results += check_behaviour(behaviour, connected.connack, settings, mosquitto)
    results.append(check_devices(trial.result()))
    if settings.group is not None:
        results.append(check_group(trial.result()))
    return results, behaviour.version


def _operator(endpoint: BrokerEndpoint, site: Path) -> BrokerEndpoint | None:
    """The gateway's endpoint with the site's operator as user; None where its password cannot be read."""
    password = mosquitto_files.read_secret(site / OPERATOR / "password")
    if password is None or endpoint.username is None:
        return None
    return replace(endpoint, username=OPERATOR, password=password)


async def _check_cloud(
    settings: Settings, service: connections.EdgeManagerConnection, s3: Any, object_url: str | None
) -> list[CheckResult]:
    try:
        credentials, answers, model = await asyncio.gather(
            probe_credentials(service.credentials),
            probe_service(service, settings),
            probe_model_store(s3, settings, object_url),
        )
    finally:
        service.credentials.close()
    service_results = check_service(answers, frozenset(value.casefold() for value in settings.registered_values))
    return [check_credentials(credentials), *service_results, check_model_store(model, settings.cache_bytes)]


def _check_files(
    conf: MosquittoConf | None, settings: Settings, devices: int | None, anonymous: bool, is_2_1: bool | None
) -> list[CheckResult]:
    """`anonymous`: the live broker accepted a client without a user name. `is_2_1`: it is Mosquitto 2.1 or later."""
    if conf is None:
        return files_unknown("it is in the broker's files", NAME_THE_CONF)
    if anonymous and not conf.allows_anonymous:
        reason = "the broker accepts clients without a user name, the file of --conf does not: it is another broker's"
        return files_unknown(reason, NAME_THE_CONF)
    acls, password_files = conf.paths("acl_file"), conf.paths("password_file")
    acl = mosquitto_files.read_acl(acls[0]) if len(acls) == 1 else None
    users = mosquitto_files.read_password_file(password_files[0]) if len(password_files) == 1 else None
    account = mosquitto_files.broker_account(conf)
    group = mosquitto_files.group_name(account.group) if account else ""
    return [
        *check_files(conf, settings, devices, is_2_1),
        _check_isolation(conf, settings, acl, users.users if isinstance(users, PasswordUsers) else (), is_2_1),
        check_reload(mosquitto_files.read_reloaded_files(conf, acl, users), account, group, is_2_1),
    ]


def _check_isolation(
    conf: MosquittoConf, settings: Settings, acl: Acl | ProbeFailure | None, users: tuple[str, ...], is_2_1: bool | None
) -> CheckResult:
    """By the one acl_file that there is, whether the broker reads it or a plugin of its own."""
    if conf.has_unknown_plugin:
        return unknown(isolation.CHECK, "a plugin of the broker decides", "try it with two devices' credentials")
    if isinstance(acl, ProbeFailure):
        return unknown(isolation.CHECK, acl.detail, "run this where it can be read")
    if acl is None:
        several = unknown(isolation.CHECK, "the listeners have different acl_files", "look at each")
        return several if conf.paths("acl_file") else isolation.no_acl_file()
    ids_are_names = any(each.flag("use_username_as_clientid") for each in conf.listeners)
    user = settings.broker.username
    question = isolation.AclQuestion(settings.root, user, settings.fleets, ids_are_names, users, is_2_1)
    return isolation.check_isolation(acl, question)
