"""Whether a download goes through in so much of the heap: `memory.py SIZE BLOCK ROOM`, run by MicroPython.

The heap is filled up but for ROOM bytes, however often the collector runs then. One JSON line out: "fits". Each try is
a process of its own, since the collector spares what a stray word of an earlier one points to.
"""

import gc
import json
import os
import sys
from hashlib import sha1

from device_sdk.agent import Agent
from device_sdk.heartbeat import Packer
from tests.device.support import LAYOUT, NOW, packed, receive

FOLDER = "download-under-test"


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
    for name in ("m", "m.new"):
        try:
            os.remove(FOLDER + "/" + name)
        except OSError:
            pass


def filled(room):
    """What leaves so many bytes of the heap free, in one piece."""
    kept = bytearray(room)
    ballast = None
    size = gc.mem_free()
    while size:
        try:
            while True:
                ballast = ballast, bytearray(size)
        except MemoryError:
            size //= 2
    del kept
    gc.collect()
    return ballast


def fetch(size, block, room, plan, buf):
    """Whether the file arrives with so many bytes of heap left."""
    clean()
    done = []
    agent = Agent(LAYOUT, done.append, print, max_payload=block + 32, files=FOLDER + "/")
    agent.start(0, NOW, 1, False)
    p = Packer(256, 0)
    for _ in range(2):
        agent.sent(agent.poll(0, p))
    receive(agent, "plan", plan)
    whole = memoryview(buf)
    last = memoryview(buf)[: len(buf) - block + (size % block or block)]
    gc.collect()
    ballast = filled(room)
    try:
        for at in range(0, size, block):
            agent.work(int)
            agent.poll(0, p)
            for i in range(3):
                buf[5 + i] = at >> 16 - 8 * i & 255
            n = min(block, size - at)
            buf[-block - 2] = n >> 8
            buf[-block - 1] = n & 255
            receive(agent, "block", whole if n == block else last)
        if agent.bad or agent.file:
            return False
    except MemoryError:
        return False
    del ballast
    agent.work(int)
    return len(done) == 1


def main(size, block, room):
    size, block, room = int(size), int(block), int(room)
    try:
        os.mkdir(FOLDER)
    except OSError:
        pass
    plan, buf = message(size, block, whole(size, block))
    fits = fetch(size, block, room, plan, buf)
    clean()
    os.rmdir(FOLDER)
    print(json.dumps({"fits": fits}))


if __name__ == "__main__":
    main(*sys.argv[1:])
