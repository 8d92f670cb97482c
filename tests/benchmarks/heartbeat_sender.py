"""Heartbeats at a steady rate and how long each waited for its ack: `python -m tests.benchmarks.heartbeat_sender PORT`,
commands on stdin.

`RATE COUNT`: so many heartbeats a second, so many in all. Answered with a line of JSON: seconds, in their order.
Each of 200 devices sends with a seq, so an ack comes once the cloud has accepted it.
"""

import json
import select
import sys
import time

import msgpack

from tests.benchmarks.file_readers import Connection

DEVICES = 200
LAYOUT = ["1.0.0", [["sys", "sequence-no"], ["sys", "rssi"]], []]
BASES = [f"edge/beats/dev-{number:06d}" for number in range(DEVICES)]


def receive(connection: Connection, came: dict[int, float]) -> None:
    for topic, payload in connection.messages():
        if topic.endswith("/ack"):
            came[msgpack.unpackb(payload)[0]] = time.monotonic()


def measure(connection: Connection, first: int, rate: float, count: int) -> list[float]:
    """A heartbeat is sent when its time has come, whatever became of those before."""
    sent: dict[int, float] = {}
    came: dict[int, float] = {}
    began = time.monotonic()
    while len(came) < count:
        due = began + len(sent) / rate
        wait = max(0.0, due - time.monotonic()) if len(sent) < count else 10.0
        if select.select([connection.sock], [], [], wait)[0]:
            receive(connection, came)
        elif len(sent) < count:
            seq = first + len(sent)
            connection.publish(
                BASES[seq % DEVICES] + "/hb", msgpack.packb([LAYOUT, None, [seq, -61], None, None, None, seq])
            )
            sent[seq] = due
        connection.flush()
    return [came[seq] - at for seq, at in sent.items()]


def main() -> None:
    connection = Connection(int(sys.argv[1]), "beats", ["edge/beats/+/ack"])
    first = 0
    for command in sys.stdin:
        rate, count = map(int, command.split())
        print(json.dumps(measure(connection, first, rate, count)), flush=True)
        first += count


if __name__ == "__main__":
    main()
