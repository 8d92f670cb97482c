"""A deployment while the memory is full: `full_memory.py ROOM`, run by MicroPython; one JSON line out.

The heap is filled up but for ROOM bytes, so that an allocation fails anywhere in plan, download, result or heartbeat.
Then there is memory again: the files must be the new ones, and the result SUCCESS, after a restart at the latest.
"""

import gc
import json
import os
import sys
from hashlib import sha1

from device_sdk.agent import Agent
from device_sdk.heartbeat import Packer
from tests.device.memory import filled
from tests.device.support import LAYOUT, NOW, Memory, packed, read, receive, written

OLD = {"m": b"old m", "n": b"old n"}
MODELS = {"m": b"a" * 900, "n": b"b" * 700}
PLAN = b"\x92\x07\x91\x93\xa1d\x00\x92"
for _each in ("m", "n"):
    PLAN += b"\x93" + packed(_each) + b"\x01\xc4\x14" + sha1(MODELS[_each]).digest()
FULL = 100, 103, 106, 109  # seconds; a range would be an allocation


class Board:
    def __init__(self, store):
        self.p = Packer(512, 0)
        self.agent = Agent(LAYOUT, self.install, print, store=store, files="", max_payload=1100)
        self.agent.start(0, NOW, 1, False)
        self.results = []

    def install(self, definition):
        with open(definition.path, "rb") as file:
            assert file.read() in (MODELS[definition.handle], OLD[definition.handle]), "a half or a wrong file"

    def step(self, now):
        """A message that is due, and what the gateway answers."""
        agent = self.agent
        receive(agent, "plan", PLAN)
        while agent.work(int):
            pass
        channel = agent.poll(now, self.p)
        value = read(written(self.p)) if channel else None
        if channel == "read":
            _, index, offset, length, count = value
            data = MODELS["mn"[index]]
            for at in range(offset, min(max(len(data), offset + 1), offset + length * count), length):
                piece = data[at : at + length]
                head = b"\x95" + packed(7) + packed(index) + packed(at) + packed(len(data)) + b"\xc5"
                receive(agent, "block", head + len(piece).to_bytes(2, "big") + piece)
        elif channel:
            agent.sent(channel)
            if channel == "hb" and len(value) > 6:
                self.results.append(value[5][1])
                receive(agent, "ack", packed((value[6], 0, NOW)))
        while agent.work(int):
            pass

    def steps(self):
        for now in range(200, 2000, 20):
            self.step(now)


def main(room):
    for name, data in OLD.items():
        with open(name, "wb") as file:
            file.write(data)
    store = Memory()
    board = Board(store)
    board.step(0)
    board.step(0)
    gc.collect()
    ballast = filled(int(room))
    for now in FULL:
        try:
            board.step(now)
        except MemoryError:
            pass
    del ballast
    gc.collect()
    board.steps()
    results = board.results
    if results[-1] == "FAIL":
        board = Board(store)
        board.steps()
    assert board.results[-1] == "SUCCESS", results
    assert board.agent.have == 7
    found = {}
    for name in os.listdir():
        with open(name, "rb") as file:
            found[name] = file.read()
    assert found == MODELS, sorted(found)
    print(json.dumps({"results": len(results)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
