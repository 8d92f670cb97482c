"""Judgements on the broker's own files: what outlives a restart, how much may wait, which doors are open. Pure."""

from gateway.config import Settings
from gateway.doctor.conf import Conf, Listener
from gateway.doctor.judge_way import is_loopback
from gateway.doctor.verdict import Verdict, failed, passed, unknown, warned

QUEUE_DEFAULT = 1000
MINUTES = 10
"""An outage of so many minutes must find room: at a heartbeat a minute, as many messages of each device."""
HEARTBEAT_BYTES = 100
"""Of a heartbeat, generously."""
AUTOSAVE_DEFAULT = 1800
AUTOSAVE_LONG = 300
"""Seconds between two saves above which a kill -9 loses much."""
FOR_EVER = 0xFFFFFFFF
_SPANS = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}


def without(reason: str, todo: str) -> list[Verdict]:
    """What can be said of the files where they are not known; `todo`: how to name them."""
    return [unknown(check, reason, todo) for check in ("persistence", "queues", "listeners", "isolation", "reload")]


def files(conf: Conf, settings: Settings, devices: int | None, is_2_1: bool | None) -> list[Verdict]:
    """All but what the ACL says. `is_2_1`: the broker is Mosquitto 2.1 or later; None: not known."""
    return [
        persistence(conf, settings.session_expiry),
        queues(conf, devices),
        *sending(conf, settings.max_payload),
        *largest_qos(conf, is_2_1),
        listeners(conf, settings.broker.port),
    ]


def persistence(conf: Conf, session_expiry: int) -> Verdict:
    """Whether sessions and what waits in them live through a restart of the broker; `session_expiry` in seconds."""
    check = "persistence"
    if not conf.flag("persistence"):
        todo = "persistence true: at a restart the broker forgets sessions, what waits in them, hellos and plans"
        return failed(check, "persistence is not true", todo)
    if conf.flag("autosave_on_changes"):
        todo = "autosave_on_changes false and autosave_interval 30: counted by changes the broker saves without pause"
        return warned(check, "autosave_on_changes is true", todo)
    interval = conf.number("autosave_interval", AUTOSAVE_DEFAULT)
    if interval == 0 or interval > AUTOSAVE_LONG:
        lost = "everything" if interval == 0 else f"up to {interval:,} s"
        return warned(check, f"a kill -9 or a power cut loses {lost} of it", "autosave_interval 30")
    expiry = conf.options.get("persistent_client_expiration", "")
    seconds = int(expiry[:-1]) * _SPANS.get(expiry[-1], 1) if expiry[:-1].isdecimal() else None
    if seconds is not None and seconds < session_expiry:
        asked = "for ever" if session_expiry == FOR_EVER else f"{session_expiry:,} s"
        found = f"persistent_client_expiration {expiry} ends sessions before session_expiry ({asked}) does"
        return warned(check, found, "make it longer than the longest outage that must lose nothing")
    return passed(check, f"on; a kill -9 loses {interval} s at most")


def queues(conf: Conf, devices: int | None) -> Verdict:
    """Whether what the devices send has room while the gateway or the cloud is away."""
    check, room = "queues", _room(conf)
    if room is None:
        return passed(check, "without a limit of their own")
    if devices is None:
        return warned(check, f"{room:,} messages may wait", "say for how many devices: --devices N")
    found = f"{room:,} messages may wait, of {devices:,} devices"
    needed = devices * MINUTES
    limits = f"max_queued_messages {needed}, max_queued_bytes 0 or {needed * HEARTBEAT_BYTES}"
    todo = f"{limits}: what is over a limit is confirmed and dropped"
    if room < devices:
        return failed(check, found + ": not one each", todo)
    if room < needed:
        return warned(check, f"{found}: {room / devices:.1f} minutes at a heartbeat a minute", todo)
    return passed(check, f"{found}: {room / devices:,.0f} minutes at a heartbeat a minute")


def _room(conf: Conf) -> int | None:
    """Messages; None: no limit."""
    count = conf.number("max_queued_messages", QUEUE_DEFAULT)
    size = conf.number("max_queued_bytes", 0) // HEARTBEAT_BYTES
    return min(filter(None, (count, size)), default=None)


def sending(conf: Conf, max_payload: int) -> list[Verdict]:
    """What else the broker does with messages; nothing where it is right."""
    found = []
    limit = conf.number("message_size_limit", 0)
    if 0 < limit <= max_payload:
        told = f"message_size_limit {limit:,} drops what max_payload ({max_payload:,}) would answer"
        found.append(warned("payloads", told, "make it larger than max_payload: what it drops nobody can answer"))
    if not conf.flag("set_tcp_nodelay"):
        todo = "set_tcp_nodelay true: without it each block of a model file waits for the other side's delayed ACK"
        found.append(warned("speed", "set_tcp_nodelay is not true", todo))
    return found


def largest_qos(conf: Conf, is_2_1: bool | None) -> list[Verdict]:
    """Whether max_qos holds; nothing where it does, or is not set."""
    set_there = sorted(each.port for each in conf.listeners if "max_qos" in each.options)
    if not set_there or is_2_1:
        return []
    found = f"max_qos of {_ports(set_there)} is lost at the first reload of Mosquitto 2.0"
    todo = "leave it out; max_inflight_bytes 67108864 bounds what QoS 2 makes the broker hold, in every version"
    return [warned("QoS 2", found, todo)]


def listeners(conf: Conf, port: int) -> Verdict:
    """Whether devices cannot take each other's client id, nor the gateway's; `port` is the gateway's."""
    check = "listeners"
    if conf.admits_nameless:
        found = "allow_anonymous is true" if conf.listeners else "no listener: Mosquitto lets this machine in, nameless"
        todo = "a listener for the gateway, one for devices, allow_anonymous false"
        return failed(check, found, todo)
    free = [each for each in conf.listeners if not each.flag("use_username_as_clientid")]
    if len(free) == len(conf.listeners):
        todo = "use_username_as_clientid true on the devices' listener, and another listener for the gateway"
        return failed(check, "a device that gives another's client id throws it out", todo)
    if port in {each.port for each in conf.listeners} - {each.port for each in free}:
        todo = "set mqtt_url to a listener without use_username_as_clientid: the gateway needs two client ids"
        return failed(check, f"port {port} takes the user name for the client id", todo)
    return _reachable(check, free, [each for each in conf.listeners if not _is_private(each)])


def _reachable(check: str, free: list[Listener], public: list[Listener]) -> Verdict:
    """What a device on the network finds."""
    if open_doors := sorted(each.port for each in free if each in public):
        found = f"whoever reaches {_ports(open_doors)} may take the gateway's client id"
        return warned(check, found, "bind it to an address that no device reaches, or see to it that a firewall does")
    if plain := sorted(each.port for each in public if "certfile" not in each.options):
        return warned(check, f"passwords travel to {_ports(plain)} as they are", "certfile and keyfile there")
    return passed(check, "a client id is its user's; the gateway's door is bound to an address of its own")


def _is_private(listener: Listener) -> bool:
    return is_loopback(listener.address) or listener.port == 0


def _ports(numbers: list[int]) -> str:
    return "port " + ", ".join(map(str, numbers))
