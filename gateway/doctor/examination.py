"""One examination: gather the facts, have them judged, in the order in which things hang on each other."""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway import connections
from gateway.config import Settings
from gateway.doctor import (
    judge_acl,
    judge_broker,
    judge_cloud,
    judge_device,
    judge_disk,
    judge_files,
    judge_reload,
    judge_way,
    probe_broker,
    probe_cloud,
    probe_device,
    probe_disk,
    probe_files,
    probe_way,
)
from gateway.doctor.acl import Acl
from gateway.doctor.conf import Conf
from gateway.doctor.facts import Fault, TlsFault
from gateway.doctor.logins import Logins
from gateway.doctor.release import is_2_1
from gateway.doctor.verdict import Level, Verdict, unknown
from gateway.mqtt.connection import BrokerEndpoint

BY_CONF = "name the broker's mosquitto.conf by --conf"
BOARD = Path("gateway", "probe.json")
"""The board file of `doctor/probe`, below the site's folder."""
OPERATOR = "operator"
ELSEWHERE = "the broker lets in whoever gives no name, the file of --conf does not: it runs by another one"


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator says beside the settings. `site`: the folder of its identities. `model`: an `s3://BUCKET/KEY`.

    `board`: the board file of `doctor/probe`, where it is not the site's.
    """

    site: Path
    board: Path | None = None
    conf: Path | None = None
    devices: int | None = None
    model: str | None = None


async def examine(settings: Settings, options: Options) -> list[Verdict]:
    """Every verdict. Raises ConfigError for settings that cannot work."""
    conf = probe_files.read_conf(options.conf) if options.conf else None
    service = connections.service(settings)
    store = connections.model_store(settings, service.region)
    endpoint = connections.broker(settings)
    async with asyncio.TaskGroup() as group:  # unlike gather, it ends when all have: who is interrupted cleans up first
        asked = group.create_task(_broker(settings, endpoint, options, conf is not None))
        answered = group.create_task(_cloud(settings, service, store, options.model))
        disk = await asyncio.to_thread(probe_disk.look, settings.state_dir)
    (broker, version), cloud = asked.result(), answered.result()
    nameless = judge_broker.nameless(True) in broker
    files = await asyncio.to_thread(_files, conf, settings, options.devices, nameless, is_2_1(version))
    return [*broker, *files, *cloud, judge_disk.disk(disk, settings.cache_bytes)]


async def _broker(
    settings: Settings, endpoint: BrokerEndpoint, options: Options, mosquitto: bool
) -> tuple[list[Verdict], str]:
    """As far as one comes: who is not let in learns nothing more. With what the broker calls itself, where it says."""
    way = await probe_way.approach(endpoint)
    found = [judge_way.reached(way)]
    if way.fault:
        return found, ""
    found.append(judge_way.tls(way, time.time()))
    if isinstance(way.tls, TlsFault):
        return found, ""
    entry = await probe_way.enter(endpoint)
    found.append(judge_way.entered(entry, settings.broker))
    if entry.announced is None:
        return found, ""
    nameless = await probe_way.is_nameless_let_in(endpoint, settings.mqtt_cert_file is not None)
    found += [judge_way.limits(entry.announced, settings.max_payload), judge_broker.nameless(nameless)]
    clients = await probe_broker.try_clients(endpoint)
    found.append(judge_broker.clients(clients))
    if found[-1].level is Level.FAIL:
        return found, ""
    async with asyncio.TaskGroup() as group:
        board = options.board or options.site / BOARD
        trial = group.create_task(probe_device.try_as_device(board, endpoint, settings.root))
        operator = _operator(endpoint, options.site)
        manners = await probe_broker.try_out(endpoint, settings.root, operator)
    found += judge_broker.manners(manners, entry.announced, settings, mosquitto)
    return [*found, judge_device.devices(trial.result())], manners.version


def _operator(endpoint: BrokerEndpoint, site: Path) -> BrokerEndpoint | None:
    """The gateway's way, as the site's operator; None where its password cannot be read."""
    password = probe_files.read_secret(site / OPERATOR / "password")
    if password is None or endpoint.username is None:
        return None
    return replace(endpoint, username=OPERATOR, password=password)


async def _cloud(
    settings: Settings, service: connections.EdgeManagerConnection, store: Any, model: str | None
) -> list[Verdict]:
    identity, answers, files = await asyncio.gather(
        probe_cloud.find_credentials(service.session),
        probe_cloud.ask_service(service, settings),
        probe_cloud.ask_model_store(store, settings, model),
    )
    words = frozenset(value.casefold() for value in settings.registered_values)
    return [
        judge_cloud.credentials(identity),
        *judge_cloud.service(answers, words),
        judge_cloud.model_store(files, settings.cache_bytes),
    ]


def _files(
    conf: Conf | None, settings: Settings, devices: int | None, nameless: bool, newer: bool | None
) -> list[Verdict]:
    """`nameless`: the live broker was seen to let in a client without a name. `newer`: it is Mosquitto 2.1 or later."""
    if conf is None:
        return judge_files.without("it stands in the broker's files", BY_CONF)
    if nameless and not conf.admits_nameless:
        return judge_files.without(ELSEWHERE, BY_CONF)
    acls, logins = conf.paths("acl_file"), conf.paths("password_file")
    rules = probe_files.read_acl(acls[0]) if len(acls) == 1 else None
    users = probe_files.read_logins(logins[0]) if len(logins) == 1 else None
    account = probe_files.account(conf)
    group = probe_files.group_name(account.group) if account else ""
    return [
        *judge_files.files(conf, settings, devices, newer),
        _isolation(conf, settings, rules, users.users if isinstance(users, Logins) else (), newer),
        judge_reload.reload(probe_files.read_again(conf, rules, users), account, group, newer),
    ]


def _isolation(
    conf: Conf, settings: Settings, rules: Acl | Fault | None, users: tuple[str, ...], newer: bool | None
) -> Verdict:
    """By the one acl_file that there is, whoever reads it: the broker, or a plugin of its own."""
    if conf.is_decided_elsewhere:
        return unknown(judge_acl.CHECK, "a plugin of the broker decides", "try it with two devices' credentials")
    if isinstance(rules, Fault):
        return unknown(judge_acl.CHECK, rules.detail, "run this where it can be read")
    if rules is None:
        many = unknown(judge_acl.CHECK, "the listeners have different acl_files", "look at each")
        return many if conf.paths("acl_file") else judge_acl.unruled()
    ids_are_names = any(each.flag("use_username_as_clientid") for each in conf.listeners)
    question = judge_acl.Question(settings.root, settings.broker.username, settings.fleets, ids_are_names, users, newer)
    return judge_acl.isolation(rules, question)
