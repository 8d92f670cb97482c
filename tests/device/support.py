"""What the shared tests use on both runtimes: vectors read from their files, and a Packer's bytes.

The files named test_*.py beside this one run under pytest and, by run.py, under MicroPython; they use plain asserts and
import nothing that MicroPython lacks. Those that need CPython are in tests/device/host.
"""

import json
from binascii import unhexlify

from device_sdk.agent import unpack
from device_sdk.heartbeat import Packer

HERE = __file__[: -len("device/support.py")]
LAYOUT = [
    "1.0.0",
    [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]],
    [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]],
]
NOW = 1795458600


class Memory:
    """A store in memory that outlives power."""

    text = None

    def __call__(self, text=None):
        self.text = text or self.text
        return self.text


def vectors(name):
    with open(HERE + "vectors/" + name + ".json") as file:
        return json.load(file)["vectors"]


def payload(vector):
    if "hex" in vector:
        return unhexlify(vector["hex"])
    rule = vector["rule"]
    return unhexlify(rule["prefix"]) + unhexlify(rule["repeat"]) * rule["times"] + unhexlify(rule["suffix"])


def as_value(item):
    """A vector's JSON as the reader gives it: None for a map, a float or a bool."""
    if isinstance(item, list):
        return [as_value(each) for each in item]
    if isinstance(item, dict):
        return unhexlify(item["bin"]) if "bin" in item else None
    return None if isinstance(item, (bool, float)) else item


def written(p):
    return bytes(p.buf[p.start : p.pos])


def packed(value, size=1024):
    p = Packer(size, 0)
    p.any(value)
    return written(p)


def receive(agent, channel, data):
    agent.receive(channel, data)


def read(data):
    return unpack(data)


def raises(kind, call, *args):
    """The error that the call raised; an AssertionError where it raised none."""
    try:
        call(*args)
    except kind as error:
        return error
    raise AssertionError("nothing was raised")
