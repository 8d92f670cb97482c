"""What a download takes of the heap: `memory.py SIZE BLOCK`, run by MicroPython; one JSON line out.

The heap is filled up but for some bytes, and the download must go through: the fewest with which it does are the
figure, however often the collector runs. A block that arrives counts, as it lies in the client's buffer meanwhile.
"""

import gc
import os
from hashlib import sha1

from device_sdk.agent import Agent
from device_sdk.pack import Packer
from tests.device.support import LAYOUT, NOW, packed, receive

FOLDER = "download-under-test/"
STEP = 128


def message(size, block, sum_):
    plan = b"\x92\x07\x91\x93\xa1d\x00\x91\x94\xa1m\x01\xc4\x14" + sum_ + packed(size)
    head = b"\x95\x07\x00\xce\x00\x00\x00\x00\xce" + size.to_bytes(4, "big") + b"\xc5" + block.to_bytes(2, "big")
    return plan, bytearray(head + bytes(block))


def whole(size, block):
    """The checksum of a file of zeros."""
    total = sha1()
    for at in range(0, size, block):
        total.update(bytes(min(block, size - at)))
    return total.digest()


def clean():
    for name in ("m", "m.part"):
        try:
            os.remove(FOLDER + name)
        except OSError:
            pass


def fetch(size, block, room, plan, buf):
    """Whether the file arrives with so many bytes of heap left."""
    clean()
    done = []
    agent = Agent(LAYOUT, done.append, print, max_payload=block + 32, files=FOLDER)
    agent.start(0, NOW, 1, False)
    p = Packer(256, 0)
    receive(agent, "plan", plan)
    view = memoryview(buf)
    last = memoryview(buf)[: len(buf) - block + size % block]
    gc.collect()
    ballast = bytearray(max(0, gc.mem_free() - room))  # noqa: F841  it is there to be in the way
    try:
        now = at = 0
        while not done and now < 100:
            agent.work(lambda: 0)
            now += agent.poll(now, p) is None
            while at < size and not done:
                buf[4] = at >> 16
                buf[5] = at >> 8 & 255
                buf[6] = at & 255
                if size - at >= block:
                    receive(agent, "block", view)
                else:
                    buf[len(buf) - block - 2] = size - at >> 8
                    buf[len(buf) - block - 1] = size - at & 255
                    receive(agent, "block", last)
                if agent.bad:
                    return False
                at += block
                agent.work(lambda: 0)
                agent.poll(now, p)
    except MemoryError:
        return False
    return len(done) == 1
