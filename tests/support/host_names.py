"""A command in a process where a host name has the addresses of a test, and an address that answers nothing.

`python -m tests.support.host_names ADDRESS,ADDRESS COMMAND...` runs `edge-gateway COMMAND...` where NAME has them. It
stands for the resolver alone: who connects, and in which order, is up to the command.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

NAME = "site.example"
DEAD = "127.0.0.2"
"""A second address of this machine's loopback."""


def command(addresses: list[str], *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.host_names", ",".join(addresses), *arguments]


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """Whoever connects to DEAD at `port` gets no answer: its queue of connections is full."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind((DEAD, port))
        listener.listen(0)
        for _ in range(3):
            client = opened.enter_context(socket.socket())
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect((DEAD, port))
        yield


def resolve_to(addresses: list[str]) -> None:
    """From now on, in this process, NAME has these addresses, in this order."""
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> list[Any]:
        hosts = addresses if host == NAME else [host]
        return [entry for each in hosts for entry in ask(each, *arguments, **options)]

    socket.getaddrinfo = getaddrinfo


def main() -> None:
    resolve_to(sys.argv.pop(1).split(","))
    from gateway.cli import main as gateway

    gateway()


if __name__ == "__main__":
    main()
