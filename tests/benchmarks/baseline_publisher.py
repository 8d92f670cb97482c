"""The baseline of bench_files.py: one paho client that publishes the blocks of a file, to one device after another.

`python -m tests.benchmarks.baseline_publisher PORT FILE LENGTH DEVICES FLEETS`. It knows all beforehand, is asked
nothing, and reads no file meanwhile. It keeps to paho's own limit of 20 unconfirmed messages: with 1,000 it was slower.
"""

import sys
from collections import deque
from pathlib import Path

import msgpack
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

QUEUED = 20_000
"""Unconfirmed messages at most: of more than 65,535 paho loses some, since their ids repeat."""


def main(port: int, file: Path, length: int, devices: int, fleets: int) -> None:
    content = file.read_bytes()
    offsets = range(0, len(content), length)
    blocks = [msgpack.packb([1, 0, offset, len(content), content[offset : offset + length]]) for offset in offsets]
    topics = [f"edge/fleet-{number % fleets}/dev-{number:06d}/block" for number in range(devices)]
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    print("ready", flush=True)
    sys.stdin.readline()
    waiting: deque[mqtt.MQTTMessageInfo] = deque()
    for block in blocks:
        for topic in topics:
            waiting.append(client.publish(topic, block, 1))
            if len(waiting) > QUEUED:
                waiting.popleft().wait_for_publish(60)
    for each in waiting:
        each.wait_for_publish(60)
    client.loop_stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
