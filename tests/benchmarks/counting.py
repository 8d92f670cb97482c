"""An Edge Manager that counts: each POST is answered after `delay` seconds, heartbeats are told apart by their marker.

`python counting.py DELAY [FILE]` prints its port, then a line of JSON for each line on stdin: what came since the last
one. With a FILE it stands in every device's plan, and S3's GET and HEAD of anything answer with it.
"""

import asyncio
import hashlib
import json
import re
import sys
import time
from pathlib import Path

MARKER = re.compile(rb"777\d{9}")
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


def answer_of(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body


EMPTY = answer_of(b"{}")
REGISTERED = answer_of(b'{"DeviceRegistration":"REGISTERED","CacheTTL":"3600"}')


class Counting(asyncio.Protocol):
    """One connection; requests come whole or in pieces, one at a time."""

    seen: dict[bytes, float]
    posts = gets = 0
    delay = 0.0
    deployments = EMPTY
    model = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, blank, body = self.data.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not blank or len(body) < (int(length[1]) if length else 0):
            return
        self.data = b""
        answer = EMPTY
        if head.startswith((b"GET", b"HEAD")):
            Counting.gets += head.startswith(b"GET")
            answer = self.model if head.startswith(b"GET") else self.model.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        elif b"GetDeployments" in head:
            answer = self.deployments
        elif b"GetDeviceRegistration" in head:
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
    found = {"heartbeats": len(times), "posts": Counting.posts, "seconds": span, "gets": Counting.gets}
    print(json.dumps(found), flush=True)


def offer(content: bytes) -> None:
    checksum = {"Type": "SHA1", "Sum": hashlib.sha1(content).hexdigest()}
    definition = {"ModelHandle": "kws", "S3Url": "s3://models/kws", "State": "DEPLOY", "Checksum": checksum}
    policy = {"Type": "Model", "FailureHandlingPolicy": "DO_NOTHING"}
    deployment = policy | {"DeploymentName": "deploy-7", "Definitions": [definition]}
    Counting.deployments = answer_of(json.dumps({"Deployments": [deployment]}).encode())
    Counting.model = answer_of(content, b"binary/octet-stream")


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Counting, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin, tell)
    await server.serve_forever()


if __name__ == "__main__":
    Counting.seen, Counting.delay = {}, float(sys.argv[1])
    if len(sys.argv) > 2:
        offer(Path(sys.argv[2]).read_bytes())
    try:
        asyncio.run(main())
    except RuntimeError:
        pass  # stdin ended, the loop was stopped
