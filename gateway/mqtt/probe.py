"""Whether an MQTT broker answers at a port: one CONNECT without user name, and the code of the answer. Uses no paho.

It must never leave a connection open.
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


def connack_code(
    host: str, port: int, level: int, tls: ssl.SSLContext | None = None, timeout: float = 1.0
) -> int | None:
    """The code of the CONNACK to a CONNECT without user name, of that protocol level; 0: accepted.

    None where no CONNACK comes within `timeout` seconds: a container's proxy accepts before its broker runs.
    """
    try:
        with socket.create_connection((host, port), timeout) as plain, _with_tls(plain, host, tls) as connection:
            connection.sendall(_connect_packet(level))
            answer = _read(connection, 4)
            _disconnect(connection)
    except OSError:
        return None
    # Type and length of the packet, flags, code: in both versions.
    return answer[3] if len(answer) == 4 and answer[0] == _CONNACK else None


def speaks_mqtt(host: str, port: int, level: int, tls: ssl.SSLContext | None = None, timeout: float = 1.0) -> bool:
    """Whether a broker answers a CONNECT of that protocol level there, perhaps with a refusal."""
    return connack_code(host, port, level, tls, timeout) is not None


def _with_tls(connection: socket.socket, host: str, tls: ssl.SSLContext | None) -> socket.socket:
    return connection if tls is None else tls.wrap_socket(connection, server_hostname=host)


def _read(connection: socket.socket, size: int) -> bytes:
    """Fewer bytes where the connection ends before."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def _disconnect(connection: socket.socket) -> None:
    """DISCONNECT, and wait until the broker has closed it: rumqttd can fail where a client does not."""
    with suppress(OSError):
        connection.sendall(_DISCONNECT)
        while connection.recv(64):
            pass


def _connect_packet(level: int) -> bytes:
    properties = b"\0" if level == MQTT_5 else b""
    client_id = b"probe" + secrets.token_hex(4).encode()
    body = b"\0\4MQTT" + bytes((level, 0x02, 0, 10)) + properties + bytes((0, len(client_id))) + client_id
    return bytes((0x10, len(body))) + body
