from collections.abc import Callable
from typing import Any, BinaryIO

from .agent import Agent
from .heartbeat import Packer

def exec(call: Callable[..., object], *args: Any) -> str | None: ...
def format(error: Exception) -> str: ...
def replace(agent: Agent) -> None: ...

class Definition:
    index: int
    """Its number in the plan, through all deployments."""
    handle: str | None
    """The model's name on the device."""
    state: int | str | None
    """What the plan wants: 1, deploy; 0, undeploy; a str that the protocol does not define."""
    checksum: bytes | str | None
    """SHA-1 of the file as 20 bytes; another checksum as a str; None: the plan has none."""
    size: int | None
    """Bytes of the file; None: unknown."""
    url: str | None
    """Where the file is, `s3://...`; None: not given, as where the agent downloads files."""
    checksum_type: str | None
    """None: SHA1."""
    name: str | None
    """Set it in a callback to report a ModelName."""
    version: str | None
    """Set it in a callback to report a ModelVersion."""
    path: str | None
    """The verified file to install, or the old one that a rollback installs again; None: the agent downloads none."""
    reason: str | None
    """Why it failed; None: it did not."""
    rollback: str | None
    """Why undoing it failed; None: it did not."""
    old: str | None
    """The model's file of before the deployment; None: there was none."""
    now: int
    """The state that the device has: what it was before, then what the last callback made of it."""
    agent: Agent
    """The agent, of a file that is downloaded."""
    new: str | None
    """The file that is downloaded, PATH.new; None: none was."""
    sum: Any
    """The SHA-1 of what is here."""
    at: int
    """Bytes of the file that are here."""
    file: BinaryIO | None
    """PATH.new, open; None: no download is under way."""
    all: bool
    """Whether all of it was downloaded for this definition."""
    since: int
    """When the range was asked for first, as `agent.now` counts."""
    start: int
    """Where that range began."""
    wait: int
    """Seconds without a block after which the request is repeated."""
    count: int
    """How often the gateway has refused the file."""
    end: int
    """Where the requested range ends."""
    send: int | bool
    """When the last request or block was; False: a block came now."""
    def __init__(self, values: list[Any], index: int) -> None: ...
    def open(self, agent: Agent, path: str) -> None: ...
    def read(self, path: str, hash: Callable[[], Any]) -> None:
        """Reads what is in the file, for its length and its checksum."""
    def poll(self, p: Packer, now: int) -> str | None: ...
    def refused(self, reason: str | None) -> None: ...
    def stop(self, reason: str | None) -> None:
        """Ends the download. reason: why it failed; None: it did not."""
    def receive(self, value: list[Any]) -> None: ...

class Plan:
    items: list[list[Any]]
    """Of each deployment its CRC, name, policy and definitions."""
    agent: Agent
    """The agent."""
    start: int
    """When the next deployment began, in seconds since the epoch."""
    def __init__(self, agent: Agent, value: list[Any]) -> None: ...
    def work(self, now: Callable[[], int]) -> bool: ...
    def call(self, step: Definition, state: int | str | None) -> None:
        """Calls `install` or `remove`. Raises what that raises."""
