"""Messages of devices and gateway in words: on a live broker, or one payload as hex. It must never publish.

`watch` is imported when it is asked for: `decode` and `encode` need no connection.
"""

from typing import TYPE_CHECKING

from gateway.watch.payloads import InputError, decode, encode, read_bytes, read_text

if TYPE_CHECKING:
    from gateway.watch.watcher import WatchOptions, watch


def __getattr__(name: str) -> object:
    if name not in ("WatchOptions", "watch"):
        raise AttributeError(name)
    from gateway.watch import watcher

    return getattr(watcher, name)
