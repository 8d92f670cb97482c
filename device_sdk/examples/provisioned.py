"""A device whose broker, name and credential are in the file that `edge-gateway devices add` made for it.

On a board: copy that file to it as board.json, this one as main.py and device_sdk beside them, and bring the network up
first. On a host: `python provisioned.py FILE`. By a password or by a certificate, over TLS, on MicroPython and CPython
alike. Model files of plans come to where it runs.
"""
# mypy: ignore-errors

import gc
import json
import ssl
import sys
from binascii import a2b_base64

from device_sdk.agent import Agent
from device_sdk.port import Port, in_file

LAYOUT = ["provisioned 1.0", [["system", "free-heap"]], []]
MICROPYTHON = sys.implementation.name == "micropython"


def read(path):
    with open(path) as file:
        return json.load(file)


def wrapper(board):
    """What the client calls on its socket: TLS that trusts the site's authority alone; None without TLS."""
    if "ca" not in board:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=a2b_base64(board["ca"]))
    if "cert" in board:
        show(context, a2b_base64(board["cert"]), a2b_base64(board["key"]))
    if MICROPYTHON:
        return lambda sock, host: context.wrap_socket(sock, server_hostname=host)
    from device_sdk.host import tls

    return tls(context)


def show(context, cert, key):
    """MicroPython takes DER as it is. CPython reads nothing but a PEM file, which lives for a moment, for us alone."""
    if MICROPYTHON:
        context.load_cert_chain(cert, key)
        return
    from base64 import encodebytes
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile() as file:
        for kind, der in ((b"PRIVATE KEY", key), (b"CERTIFICATE", cert)):
            file.write(b"-----BEGIN %s-----\n%s-----END %s-----\n" % (kind, encodebytes(der), kind))
        file.flush()
        context.load_cert_chain(file.name)


def port(agent, board, **more):
    """The agent's way to the broker of its board file."""
    where = (board["host"], board["fleet"], board["device"], board.get("password"))
    return Port(agent, *where, port=board["port"], tls=wrapper(board), **more)


def measure(agent):
    agent.sample("free-heap", gc.mem_free() if MICROPYTHON else 0)


def install(definition):  # what it raises is told as the reason
    print("here is", definition.handle, "verified, in", definition.path)


def remove(definition):
    print(definition.handle, "is not wanted any more")


def main(path="board.json"):
    agent = Agent(LAYOUT, install, remove, measure, store=in_file("agent.state"), files="")
    port(agent, read(path)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
