"""An Edge Manager that counts: each POST is answered after `delay` seconds, heartbeats are told apart by their marker.

`python counting.py DELAY` prints its port, then a line of JSON for each line on stdin: what came since the last one.
"""

import asyncio
import json
import re
import sys
import time

MARKER = re.compile(rb"777\d{9}")
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
YES = b'{"DeviceRegistration":"REGISTERED","CacheTTL":"3600"}'
REGISTERED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(YES) + YES


class Counting(asyncio.Protocol):
    """One connection; requests come whole or in pieces, one at a time."""

    seen: dict[bytes, float]
    posts = 0
    delay = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, blank, body = self.data.partition(b"\r\n\r\n")
        if not blank or len(body) < int(re.search(rb"(?i)content-length: *(\d+)", head)[1]):
            return
        self.data = b""
        answer = EMPTY
        if b"GetDeviceRegistration" in head:
            answer = REGISTERED
        elif b"SendHeartbeat" in head:
            Counting.posts += 1
            now = time.monotonic()
            for marker in MARKER.findall(body):
                self.seen.setdefault(marker, now)
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, answer)
        else:
            self.transport.write(answer)


def tell() -> None:
    if not sys.stdin.readline():
        asyncio.get_running_loop().stop()
        return
    times = Counting.seen.values()
    span = max(times) - min(times) if times else 0.0
    print(json.dumps({"heartbeats": len(times), "posts": Counting.posts, "seconds": span}), flush=True)


async def main() -> None:
    loop = asyncio.get_running_loop()
    Counting.seen, Counting.delay = {}, float(sys.argv[1])
    server = await loop.create_server(Counting, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin, tell)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except RuntimeError:
        pass  # stdin ended, the loop was stopped
