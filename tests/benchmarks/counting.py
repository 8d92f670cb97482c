"""An Edge Manager that counts: each POST is answered after `delay` seconds, heartbeats are told apart by their marker.

`python counting.py DELAY [FILE]` prints its port, then a line of JSON for each question on stdin (stage.py names them).
With a FILE, it stands in every device's plan, and S3's GET and HEAD of anything are answered with it.
"""

import asyncio
import hashlib
import json
import re
import sys
import time
from functools import partial
from pathlib import Path

MARKER = re.compile(rb"777\d{9}")
PLAN = {
    "DeploymentName": "first",
    "FailureHandlingPolicy": "DO_NOTHING",
    "Type": "Model",
    "Definitions": [{"ModelHandle": "wake-word", "State": "UNDEPLOY"}],
}


def response(body: object, status: str = "200 OK") -> bytes:
    text = json.dumps(body).encode()
    return head(len(text), "application/json", status) + text


def head(length: int, kind: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


def plan_with(model: bytes) -> dict[str, object]:
    checksum = {"Type": "SHA1", "Sum": hashlib.sha1(model).hexdigest()}
    definition = {"ModelHandle": "wake-word", "State": "DEPLOY", "S3Url": "s3://models/kws", "Checksum": checksum}
    return PLAN | {"Definitions": [definition]}


EMPTY, PLANS = response({}), response({"Deployments": [PLAN]})
REGISTERED = response({"DeviceRegistration": "REGISTERED", "CacheTTL": "3600"})
UNAVAILABLE = response({"message": "as ordered"}, "503 Service Unavailable")


class Counting(asyncio.Protocol):
    """One connection; requests come whole or in pieces, one at a time."""

    seen: dict[bytes, float]
    posts = gets = 0
    delay = 0.0
    fails = False
    plans = PLANS
    model = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        data = self.data + data
        head = data.find(b"\r\n\r\n")
        length = data.lower().find(b"content-length:", 0, head)
        size = int(data[length + 15 : data.find(b"\r", length)]) if length >= 0 else 0
        if head < 0 or len(data) < head + 4 + size:
            self.data = data
            return
        self.data = b""
        answer = self.answer(data)
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, answer)
        else:
            self.transport.write(answer)

    def answer(self, request: bytes) -> bytes:
        if self.fails:
            return UNAVAILABLE
        if request.startswith(b"POST /GetDeviceRegistration"):
            return REGISTERED
        if request.startswith(b"POST /GetDeployments"):
            return self.plans
        if not request.startswith(b"POST"):
            return self.object(request.startswith(b"GET"))
        Counting.posts += 1
        now = time.monotonic()
        for marker in MARKER.findall(request, request.find(b"\r\n\r\n")):  # a signature may look like one
            self.seen.setdefault(marker, now)
        return EMPTY

    def object(self, whole: bool) -> bytes:
        Counting.gets += whole
        return head(len(self.model), "binary/octet-stream") + (self.model if whole else b"")


def tell(loop: asyncio.AbstractEventLoop) -> None:
    question = sys.stdin.readline().strip()
    found: dict[str, float] = {}
    if not question:
        loop.stop()
    elif question == "times":
        found = {marker.decode(): when for marker, when in Counting.seen.items()}
    elif question == "count":
        times = Counting.seen.values()
        found = {"heartbeats": len(times), "posts": Counting.posts, "gets": Counting.gets}
        found["seconds"] = max(times) - min(times) if times else 0
    else:
        Counting.fails = question == "fail"
    print(json.dumps(found), flush=True)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Counting, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin, partial(tell, loop))
    await server.serve_forever()


if __name__ == "__main__":
    Counting.seen, Counting.delay = {}, float(sys.argv[1])
    if len(sys.argv) > 2:
        Counting.model = Path(sys.argv[2]).read_bytes()
        Counting.plans = response({"Deployments": [plan_with(Counting.model)]})
    try:
        asyncio.run(main())
    except RuntimeError:
        pass  # stdin ended, the loop was stopped
