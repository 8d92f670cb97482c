"""A site with model files: devices that read them as the protocol page says, a gateway, and S3 behind a proxy.

No test of its own. What it sends and understands is the page's, not the code's.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgpack

from tests.integration.testbed import Testbed
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.plain_device import PlainDevice
from tests.support.s3 import S3Proxy, S3Server

BLOCK = 512
WINDOW = 64
KEY = "kws.tflite"


def pattern(size: int, seed: int = 0) -> bytes:
    """No two blocks of it look alike."""
    return b"".join(hashlib.sha256(b"%d %d" % (seed, number)).digest() for number in range(-(-size // 32)))[:size]


MODEL = pattern(80_824)


def sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def deployment(url: str, content: bytes, name: str = "deploy-7") -> dict[str, Any]:
    """What GetDeployments says of one file."""
    checksum = {"Type": "SHA1", "Sum": sha1(content)}
    definition = {"ModelHandle": "kws", "S3Url": url, "Checksum": checksum, "State": "DEPLOY"}
    policy = {"Type": "Model", "FailureHandlingPolicy": "DO_NOTHING"}
    return policy | {"DeploymentName": name, "Definitions": [definition]}


@dataclass
class Download:
    """One device's, of one file of its plan; `parts` came without a gap."""

    device: PlainDevice
    digest: int
    index: int = 0
    parts: list[bytes] = field(default_factory=list)

    @property
    def at(self) -> int:
        return sum(map(len, self.parts))

    def ask(self, count: int = WINDOW) -> None:
        """For the next blocks."""
        self.device.send("read", msgpack.packb([self.digest, self.index, self.at, BLOCK, count]))

    def take(self) -> int:
        """Wait for the block that comes next in the file; the bytes of the whole."""
        wanted = [self.digest, self.index, self.at]
        received = self.device.received.next(lambda each: each.channel == "block" and each.content[:3] == wanted)
        *_, total, data = received.content
        self.parts.append(data)
        return int(total)

    def until(self, bytes_wanted: int) -> None:
        """Ask and take, until so much is there or the file ends."""
        total = bytes_wanted
        while self.at < min(bytes_wanted, total):
            self.ask()
            begun = self.at
            while self.at < min(begun + WINDOW * BLOCK, total):
                total = self.take()

    def whole(self) -> bytes:
        """The file, read to its end."""
        self.until(1 << 40)
        return b"".join(self.parts)


@dataclass
class Files:
    """A testbed with S3; the bucket is named as the fleet."""

    testbed: Testbed
    s3: S3Server
    s3_proxy: S3Proxy

    @property
    def bucket(self) -> str:
        return self.testbed.fleet

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{KEY}"

    def put(self, content: bytes = MODEL) -> None:
        self.s3.put(self.bucket, KEY, content)

    def gateway(self, **more: object) -> GatewayProcess:
        """Connected and subscribed."""
        at = settings(
            self.testbed.broker.address, self.testbed.service.url, self.testbed.fleet, self.testbed.state, **more
        )
        made = GatewayProcess(at | {"AWS_ENDPOINT_URL_S3": self.s3_proxy.url})
        self.testbed.gateways.append(made)
        return self.testbed.cleanup.enter_context(made)

    def device(self, name: str = "d", content: bytes = MODEL, url: str | None = None) -> Download:
        """A device that has its plan: one file."""
        self.testbed.service.deployments[name] = [deployment(url or self.url, content)]
        device = self.testbed.device(name)
        return Download(device, fetched_plan(device))


def fetched_plan(device: PlainDevice) -> int:
    """The digest of what `get` brings."""
    device.get(None, 1)
    digest = device.plan().content[0]
    assert device.ack(1) == (0, "")
    return int(digest)
