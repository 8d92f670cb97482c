"""Whether an MQTT broker answers at a port, and to whom: one CONNECT by hand, and the answer's code.

No session, no subscription, no paho. It must never stay: every connection that it opens it ends.
"""

import secrets
import socket
import ssl
from contextlib import suppress

MQTT_3_1_1 = 4
MQTT_5 = 5
"""Protocol levels as CONNECT gives them (MQTT 3.1.1, 3.1.2.2; MQTT 5, 3.1.2.2)."""

_CONNACK = 0x20
_DISCONNECT = b"\xe0\0"


def connack(host: str, port: int, level: int, tls: ssl.SSLContext | None = None, timeout: float = 1.0) -> int | None:
    """How a broker answers a nameless CONNECT of that protocol level: the code of its CONNACK, 0 for a welcome.

    None where no CONNACK comes within `timeout` seconds: a container's proxy accepts before its broker runs.
    """
    try:
        with socket.create_connection((host, port), timeout) as plain, _secured(plain, host, tls) as connection:
            connection.sendall(_connect_packet(level))
            answer = _read(connection, 4)
            _take_leave(connection)
    except OSError:
        return None
    # Type and length of the packet, flags, code: in both versions.
    return answer[3] if len(answer) == 4 and answer[0] == _CONNACK else None


def answers(host: str, port: int, level: int, tls: ssl.SSLContext | None = None, timeout: float = 1.0) -> bool:
    """Whether a broker answers a CONNECT of that protocol level there, be it with a refusal."""
    return connack(host, port, level, tls, timeout) is not None


def _secured(connection: socket.socket, host: str, tls: ssl.SSLContext | None) -> socket.socket:
    return connection if tls is None else tls.wrap_socket(connection, server_hostname=host)


def _read(connection: socket.socket, size: int) -> bytes:
    """Fewer bytes where the connection ends before."""
    found = b""
    while len(found) < size and (more := connection.recv(size - len(found))):
        found += more
    return found


def _take_leave(connection: socket.socket) -> None:
    """DISCONNECT, and wait until the broker has closed it too (demo/embedded.py says why). One that refused us has."""
    with suppress(OSError):
        connection.sendall(_DISCONNECT)
        while connection.recv(64):
            pass


def _connect_packet(level: int) -> bytes:
    properties = b"\0" if level == MQTT_5 else b""
    client_id = b"probe" + secrets.token_hex(4).encode()
    body = b"\0\4MQTT" + bytes((level, 0x02, 0, 10)) + properties + bytes((0, len(client_id))) + client_id
    return bytes((0x10, len(body))) + body
