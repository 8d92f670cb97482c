"""A device that reads its broker, names and credential from the board file of `edge-gateway devices add`.

On a board: copy that file as board.json, this one as main.py and device_sdk beside them, and connect the network first.
On a host: `python provisioned.py [FILE]`, and Ctrl-C ends it. It uses a password or a certificate, over TLS, on
MicroPython and CPython, and prints what happens. Model files are written to the current directory.
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
USAGE = (
    "usage: python provisioned.py [FILE], where FILE (board.json) is what this command prints at the site: "
    "edge-gateway devices add FLEET DEVICE --print"
)
MICROPYTHON = sys.implementation.name == "micropython"


def read(path):
    with open(path) as file:
        return json.load(file)


def wrapper(board):
    """The function that adds TLS to a socket and trusts only the site's authority; None without TLS."""
    if "ca" not in board:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=a2b_base64(board["ca"]))
    if "cert" in board:
        show(context, a2b_base64(board["cert"]), a2b_base64(board["key"]))
    if MICROPYTHON:
        # The handshake comes with the first bytes: so a watchdog is fed meanwhile.
        return lambda sock, host: context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    from device_sdk.host import tls

    return tls(context)


def show(context, cert, key):
    """MicroPython takes DER. CPython needs a PEM file: a temporary one that only its owner can read."""
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
    """The port to the broker of the board file."""
    where = (board["host"], board["fleet"], board["device"], board.get("password"))
    return Port(agent, *where, port=board["port"], tls=wrapper(board), **more)


def measure(agent):
    agent.sample("free-heap", gc.mem_free() if MICROPYTHON else 0)


def install(definition):  # the text of an exception becomes the StatusReason
    print("here is", definition.handle, "verified, in", definition.path)


def remove(definition):
    print(definition.handle, "is not wanted any more")


def main(path="board.json"):
    try:
        board = read(path)
    except OSError:
        return end(path + " is missing: " + USAGE)
    except ValueError:
        return end(path + " is no JSON: " + USAGE)
    agent = Agent(LAYOUT, install, remove, measure, store=in_file("agent.state"), files="")
    port(agent, board, log=print).run()


def end(text):
    """On a board print it, since an exit would reset the board; on a host exit with it."""
    print(text) if MICROPYTHON else sys.exit(text)


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(USAGE)
    elif sys.argv[2:]:
        end(USAGE)
    else:
        main(*sys.argv[1:])
