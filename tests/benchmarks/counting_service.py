"""A fake Edge Manager that counts: each POST is answered after `delay` seconds, heartbeats are known by their marker.

`python -m tests.benchmarks.counting_service DELAY [FILE]` prints its port, then a line of JSON for each question on
stdin (environment.py names them). With a FILE, it is in every device's plan, and S3's GET and HEAD of anything are
answered with it.
"""

import asyncio
import hashlib
import json
import re
import sys
import time
from functools import partial
from pathlib import Path

from tests.support.edge_manager import UNAVAILABLE, FakeEdgeManager, Reply, Request

MARKER = re.compile(rb"777\d{9}")
PLAN: dict[str, object] = {
    "DeploymentName": "first",
    "FailureHandlingPolicy": "DO_NOTHING",
    "Type": "Model",
    "Definitions": [{"ModelHandle": "wake-word", "State": "UNDEPLOY"}],
}
REGISTERED = b'{"DeviceRegistration": "REGISTERED", "CacheTTL": "3600"}'
BINARY = "binary/octet-stream"


def plan_with(model: bytes) -> dict[str, object]:
    checksum = {"Type": "SHA1", "Sum": hashlib.sha1(model).hexdigest()}
    definition = {"ModelHandle": "wake-word", "State": "DEPLOY", "S3Url": "s3://models/kws", "Checksum": checksum}
    return PLAN | {"Definitions": [definition]}


class CountingEdgeManager(FakeEdgeManager):
    """`seen`: marker -> the monotonic time at which its heartbeat came first. `model` None: no plan has a file."""

    def __init__(self, delay: float, model: bytes | None = None) -> None:
        super().__init__()
        self.seen: dict[bytes, float] = {}
        self.posts = self.gets = 0
        self.fails = False
        self._accepted = Reply(delay=delay)
        self._model = model or b""
        self._plans = json.dumps({"Deployments": [PLAN if model is None else plan_with(model)]}).encode()

    def reply_to(self, request: Request) -> Reply:
        if self.fails:
            return UNAVAILABLE
        if request.head.startswith(b"POST /SendHeartbeat"):
            self.posts += 1
            now = time.monotonic()
            for marker in MARKER.findall(request.body):
                self.seen.setdefault(marker, now)
        elif not request.head.startswith(b"POST"):
            return self._object(request.method == "GET")
        return self._accepted

    def usual_body(self, request: Request) -> bytes:
        if request.head.startswith(b"POST /SendHeartbeat"):
            return b"{}"
        return self._plans if request.head.startswith(b"POST /GetDeployments") else REGISTERED

    def _object(self, whole: bool) -> Reply:
        self.gets += whole
        length = {"Content-Length": str(len(self._model))}
        return Reply(body=self._model if whole else b"", kind=BINARY, headers=length)


def answer(service: CountingEdgeManager, loop: asyncio.AbstractEventLoop) -> None:
    """The next question of stdin."""
    question = sys.stdin.readline().strip()
    found: dict[str, float] = {}
    if not question:
        loop.stop()
    elif question == "times":
        found = {marker.decode(): when for marker, when in service.seen.items()}
    elif question == "count":
        times = service.seen.values()
        found = {"heartbeats": len(times), "posts": service.posts, "gets": service.gets}
        found["seconds"] = max(times) - min(times) if times else 0
    else:
        service.fails = question == "fail"
    print(json.dumps(found), flush=True)


async def main(delay: float, model: bytes | None) -> None:
    service = CountingEdgeManager(delay, model)
    await service.open()
    print(service.port, flush=True)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, partial(answer, service, loop))
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(float(sys.argv[1]), Path(sys.argv[2]).read_bytes() if len(sys.argv) > 2 else None))
    except RuntimeError:
        pass  # stdin ended, the loop was stopped
