"""Checks of the broker's files: what survives a restart, how much may wait, who can connect. Pure."""

from gateway.config import Settings
from gateway.doctor.checks.connection import is_loopback
from gateway.doctor.parsers.mosquitto_conf import ListenerConf, MosquittoConf
from gateway.doctor.result import CheckResult, failed, passed, unknown, warned

QUEUE_DEFAULT = 1000
OUTAGE_MINUTES = 10
"""An outage for which the queue must be enough, at a heartbeat a minute of each device."""
HEARTBEAT_BYTES = 100
"""An upper bound."""
AUTOSAVE_DEFAULT = 1800
AUTOSAVE_LONG = 300
"""Seconds between two saves above which a kill -9 loses much."""
NO_EXPIRY = 0xFFFFFFFF
_UNITS = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}


def files_unknown(reason: str, todo: str) -> list[CheckResult]:
    """The results where the files are not known; `todo`: how to name them."""
    return [unknown(check, reason, todo) for check in ("persistence", "queues", "listeners", "isolation", "reload")]


def check_files(conf: MosquittoConf, settings: Settings, devices: int | None, is_2_1: bool | None) -> list[CheckResult]:
    """All but the ACL and the reload. `is_2_1`: the broker is Mosquitto 2.1 or later; None: not known."""
    return [
        check_persistence(conf, settings.session_expiry),
        check_queues(conf, devices),
        *check_sending(conf, settings.max_payload),
        *check_max_qos(conf, is_2_1),
        check_listeners(conf, settings.broker.port),
    ]


def check_persistence(conf: MosquittoConf, session_expiry: int) -> CheckResult:
    """Whether sessions and their messages survive a restart of the broker; `session_expiry` in seconds."""
    check = "persistence"
    if not conf.flag("persistence"):
        todo = "persistence true: at a restart the broker loses sessions, their messages, hellos and plans"
        return failed(check, "persistence is not true", todo)
    if conf.flag("autosave_on_changes"):
        todo = "autosave_on_changes false and autosave_interval 30: by changes the broker saves without pause"
        return warned(check, "autosave_on_changes is true", todo)
    interval = conf.number("autosave_interval", AUTOSAVE_DEFAULT)
    if interval == 0 or interval > AUTOSAVE_LONG:
        lost = "everything" if interval == 0 else f"up to {interval:,} s"
        return warned(check, f"a kill -9 or a power cut loses {lost} of it", "autosave_interval 30")
    expiry = conf.options.get("persistent_client_expiration", "")
    seconds = int(expiry[:-1]) * _UNITS.get(expiry[-1], 1) if expiry[:-1].isdecimal() else None
    if seconds is not None and seconds < session_expiry:
        asked = "for ever" if session_expiry == NO_EXPIRY else f"{session_expiry:,} s"
        found = f"persistent_client_expiration {expiry} ends sessions before session_expiry ({asked}) does"
        return warned(check, found, "make it longer than the longest outage that must lose nothing")
    return passed(check, f"on; a kill -9 loses {interval} s at most")


def check_queues(conf: MosquittoConf, devices: int | None) -> CheckResult:
    """Whether the queue is large enough for the messages of an outage of the gateway or the cloud."""
    check, limit = "queues", _queue_limit(conf)
    if limit is None:
        return passed(check, "without a limit of their own")
    if devices is None:
        return warned(check, f"{limit:,} messages may wait", "say for how many devices: --devices N")
    found = f"{limit:,} messages may wait, of {devices:,} devices"
    needed = devices * OUTAGE_MINUTES
    limits = f"max_queued_messages {needed}, max_queued_bytes 0 or {needed * HEARTBEAT_BYTES}"
    todo = f"{limits}: messages over a limit are confirmed and dropped"
    if limit < devices:
        return failed(check, found + ": not one each", todo)
    if limit < needed:
        return warned(check, f"{found}: {limit / devices:.1f} minutes at a heartbeat a minute", todo)
    return passed(check, f"{found}: {limit / devices:,.0f} minutes at a heartbeat a minute")


def _queue_limit(conf: MosquittoConf) -> int | None:
    """Messages; None: no limit."""
    count = conf.number("max_queued_messages", QUEUE_DEFAULT)
    size = conf.number("max_queued_bytes", 0) // HEARTBEAT_BYTES
    return min(filter(None, (count, size)), default=None)


def check_sending(conf: MosquittoConf, max_payload: int) -> list[CheckResult]:
    """Size limit, TCP_NODELAY and QoS 0; empty where they are right."""
    results = []
    limit = conf.number("message_size_limit", 0)
    if 0 < limit <= max_payload:
        found = f"message_size_limit {limit:,} drops what the gateway would answer (max_payload {max_payload:,})"
        results.append(warned("payloads", found, "make it larger than max_payload: nobody can answer what it drops"))
    if not conf.flag("set_tcp_nodelay"):
        todo = "set_tcp_nodelay true: without it each block of a model file waits for the other side's delayed ACK"
        results.append(warned("speed", "set_tcp_nodelay is not true", todo))
    if not conf.flag("upgrade_outgoing_qos"):
        todo = "upgrade_outgoing_qos true: without it no limit in bytes holds for what devices publish at QoS 0"
        results.append(warned("QoS 0", "one device can fill the broker's memory by payloads at QoS 0", todo))
    return results


def check_max_qos(conf: MosquittoConf, is_2_1: bool | None) -> list[CheckResult]:
    """Whether max_qos survives a reload; empty where it does, or is not set."""
    ports = sorted(each.port for each in conf.listeners if "max_qos" in each.options)
    if not ports or is_2_1:
        return []
    found = f"max_qos of {_ports(ports)} is lost at the first reload of Mosquitto 2.0"
    todo = "leave it out; max_inflight_bytes 67108864 bounds what QoS 2 makes the broker hold, in every version"
    return [warned("QoS 2", found, todo)]


def check_listeners(conf: MosquittoConf, port: int) -> CheckResult:
    """Whether a device can use the client id of another or of the gateway; `port` is the gateway's."""
    check = "listeners"
    if conf.allows_anonymous:
        no_listener = "no listener: clients of this machine need no user name"
        found = "allow_anonymous is true" if conf.listeners else no_listener
        todo = "a listener for the gateway, one for devices, allow_anonymous false"
        return failed(check, found, todo)
    shared_ids = [each for each in conf.listeners if not each.flag("use_username_as_clientid")]
    if len(shared_ids) == len(conf.listeners):
        todo = "use_username_as_clientid true on the devices' listener, and another listener for the gateway"
        return failed(check, "a device that uses another's client id disconnects it", todo)
    if port in {each.port for each in conf.listeners} - {each.port for each in shared_ids}:
        todo = "set mqtt_url to a listener without use_username_as_clientid: the gateway needs two client ids"
        return failed(check, f"port {port} uses the user name as client id", todo)
    return _check_public(check, shared_ids, [each for each in conf.listeners if not _is_private(each)])


def _check_public(check: str, shared_ids: list[ListenerConf], public: list[ListenerConf]) -> CheckResult:
    """What a device can reach over the network. `shared_ids`: listeners without use_username_as_clientid."""
    if ports := sorted(each.port for each in shared_ids if each in public):
        found = f"a client that reaches {_ports(ports)} may use the gateway's client id"
        return warned(check, found, "bind it to an address that no device reaches, or close it by a firewall")
    if plain := sorted(each.port for each in public if "certfile" not in each.options):
        return warned(check, f"{_ports(plain)} without TLS: passwords can be read", "certfile and keyfile there")
    return passed(check, "a client id is its user's; the gateway's listener is not reachable for devices")


def _is_private(listener: ListenerConf) -> bool:
    return is_loopback(listener.address) or listener.port == 0


def _ports(numbers: list[int]) -> str:
    return "port " + ", ".join(map(str, numbers))
