"""One examination: gather the facts, have them judged, in the order in which things hang on each other."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import doors
from gateway.config import Settings
from gateway.doctor import (
    judge_acl,
    judge_broker,
    judge_cloud,
    judge_disk,
    judge_files,
    judge_way,
    probe_broker,
    probe_cloud,
    probe_disk,
    probe_files,
    probe_way,
)
from gateway.doctor.conf import Conf
from gateway.doctor.facts import Fault, TlsFault
from gateway.doctor.verdict import Level, Verdict, unknown
from gateway.link import Endpoint

BY_CONF = "name the broker's mosquitto.conf by --conf"
ELSEWHERE = "the broker lets in whoever gives no name, the file of --conf does not: it runs by another one"


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator says beside the settings. `model`: an `s3://BUCKET/KEY`."""

    conf: Path | None = None
    devices: int | None = None
    model: str | None = None


async def examine(settings: Settings, options: Options) -> list[Verdict]:
    """Every verdict. Raises ConfigError for settings that cannot work."""
    conf = probe_files.read_conf(options.conf) if options.conf else None
    service = doors.service(settings)
    store = doors.model_store(settings, service.region)
    endpoint = doors.broker(settings)
    async with asyncio.TaskGroup() as group:  # unlike gather, it ends when all have: who is interrupted cleans up first
        asked = group.create_task(_broker(settings, endpoint, conf is not None))
        answered = group.create_task(_cloud(settings, service, store, options.model))
        disk = await asyncio.to_thread(probe_disk.look, settings.state_dir)
    broker, cloud = asked.result(), answered.result()
    files = _files(conf, settings, options.devices, nameless=judge_broker.nameless(True) in broker)
    return [*broker, *files, *cloud, judge_disk.disk(disk, settings.cache_bytes)]


async def _broker(settings: Settings, endpoint: Endpoint, mosquitto: bool) -> list[Verdict]:
    """As far as one comes: who is not let in learns nothing more."""
    way = await probe_way.approach(endpoint)
    found = [judge_way.reached(way)]
    if way.fault:
        return found
    found.append(judge_way.tls(way, time.time()))
    if isinstance(way.tls, TlsFault):
        return found
    entry = await probe_way.enter(endpoint)
    found.append(judge_way.entered(entry, settings.broker))
    if entry.announced is None:
        return found
    nameless = await probe_way.is_nameless_let_in(endpoint, settings.mqtt_cert_file is not None)
    found += [judge_way.limits(entry.announced, settings.max_payload), judge_broker.nameless(nameless)]
    clients = await probe_broker.try_clients(endpoint)
    found.append(judge_broker.clients(clients))
    if found[-1].level is Level.FAIL:
        return found
    manners = await probe_broker.try_out(endpoint, settings.root)
    return found + judge_broker.manners(manners, entry.announced, settings, mosquitto)


async def _cloud(settings: Settings, service: doors.Service, store: Any, model: str | None) -> list[Verdict]:
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


def _files(conf: Conf | None, settings: Settings, devices: int | None, nameless: bool) -> list[Verdict]:
    """`nameless`: the live broker was seen to let in a client without a name."""
    if conf is None:
        return judge_files.without("it stands in the broker's files", BY_CONF)
    if nameless and not conf.admits_nameless:
        return judge_files.without(ELSEWHERE, BY_CONF)
    return [*judge_files.files(conf, settings, devices), _isolation(conf, settings)]


def _isolation(conf: Conf, settings: Settings) -> Verdict:
    """By the acl_file of the listeners, each its own where they have them; else by the one of the broker."""
    scopes = [conf.options, *(each.options for each in conf.listeners)]
    if any(name in options for options in scopes for name in ("plugin", "auth_plugin")):
        return unknown(judge_acl.CHECK, "a plugin of the broker decides", "try it with two devices' credentials")
    paths = sorted({options["acl_file"] for options in scopes if "acl_file" in options})
    if len(paths) != 1:
        many = unknown(judge_acl.CHECK, "the listeners have different acl_files", "look at each")
        return many if paths else judge_acl.unruled()
    rules = probe_files.read_acl(paths[0])
    if isinstance(rules, Fault):
        return unknown(judge_acl.CHECK, rules.detail, "run this where it can be read")
    ids_are_names = any(each.flag("use_username_as_clientid") for each in conf.listeners)
    return judge_acl.isolation(rules, settings.root, settings.broker.username, settings.fleets, ids_are_names)
