"""Calls of a manager's API as quick as it answers, or on a schedule: `python -m tests.benchmarks.manager_load`.

A line of JSON on stdin is a Job, the answer is a line of JSON of what was Seen. Each connection has one call in flight.
`--respond` answers each request with 200 at once and knows nothing: what the loader itself can do. Only loopback.
"""

import json
import random
import select
import socket
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from gateway.cloud.sigv4 import AwsCredentials, Signer

CHANGE = 1_000
"""So many heartbeats at most have the same values and times; all are of other devices, so each device's are new."""
LATE_S = 30.0
"""Calls that are not answered yet are waited for so long, after a schedule's end, or while none is answered."""
OK = b"HTTP/1.1 200"


@dataclass(frozen=True)
class Job:
    """`devices` of `fleet`: dev-0000000, and each `stride` further. They call in turn, or `shuffled`.

    Ends after `count` calls where it is not 0, else after `seconds`; those of the first `warm` seconds do not count.
    `rate` 0: each connection calls again once it is answered; else so many calls a second, at random times as those
    of independent devices are, and a call's time runs from when it was due. `step` not 0: a heartbeat's samples are so
    many seconds later than those of the device's last one, from `start` (Unix seconds) on; else they are of now.
    `secret` "": calls are not signed.
    """

    ports: list[int]
    operation: str
    fleet: str = "fleet-a"
    devices: int = 1_000
    stride: int = 1
    shuffled: bool = False
    count: int = 0
    seconds: float = 5.0
    warm: float = 0.0
    rate: float = 0.0
    start: float = 0.0
    step: float = 0.0
    connections: int = 64
    access: str = ""
    secret: str = ""


@dataclass
class Seen:
    """`calls`: that count; `all_calls`: the others too; `failed`: answers that were not 200, or none.

    `ms`: latencies of the 50th, 99th and 99.9th percentile. `cpu`: seconds of the loader.
    `began`, `ended`: CLOCK_MONOTONIC of what counts. `first_error`: the head of the first answer that was not 200.
    """

    calls: int = 0
    all_calls: int = 0
    failed: int = 0
    seconds: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    ms: list[float] = field(default_factory=list)
    cpu: float = 0.0
    first_error: str = ""


def samples(number: int, when: float) -> bytes:
    """The end of a heartbeat's body: three metrics of the agent, two of a model, each with its Timestamp.

    Its length is always the same. Values go up and down by little, as those of sensors do.
    """
    at = f"{when:.3f}"
    values = (200 + number % 700, 500 + random.randint(-9, 9) / 10, 300 + number % 50 / 10, 100 + number % 13, 0.9)
    names = ("memory-free", "temperature", "humidity", "latency-ms", "confidence")
    metrics = [
        f'{{"Dimension":"system","MetricName":"{name}","Value":{value:06.2f},"Timestamp":{at}}}'
        for name, value in zip(names[:3], values[:3], strict=True)
    ]
    of_model = [
        f'{{"Dimension":"model","MetricName":"{name}","Value":{value:.2f},"Timestamp":{at}}}'
        for name, value in zip(names[3:], values[3:], strict=True)
    ]
    model = f'"ModelName":"wake-word","ModelVersion":"1.0","LatestSampleTime":{at},"LatestInference":{at}'
    return (
        f'"AgentMetrics":[{",".join(metrics)}],"Models":[{{{model},"ModelMetrics":[{",".join(of_model)}]}}]}}'
    ).encode()


def requests(job: Job) -> Iterator[bytes]:
    """Without end. Nothing of a request is computed but its device's number, where it is not signed."""
    host = f"127.0.0.1:{job.ports[0]}"
    fixed = f"POST /{job.operation} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    who = f'{{"DeviceFleetName":"{job.fleet}","DeviceName":"dev-%07d"'.encode()
    beats = job.operation == "SendHeartbeat"
    signer = Signer("us-east-1", "sagemaker", host)
    keys = AwsCredentials(job.access, job.secret)
    same = CHANGE if job.shuffled else min(CHANGE, job.devices)
    number = 0
    while True:
        when = job.start + job.step * (number // job.devices) if job.step else time.time()
        end = b',"AgentVersion":"1.0.0",' + samples(number // same, when) if beats else b"}"
        length = len(who % 0) + len(end)
        head = f"{fixed}Content-Length: {length}\r\n"
        start = f"{head}\r\n".encode() + who
        for _ in range(same):
            index = random.randrange(job.devices) if job.shuffled else number % job.devices
            number += 1
            if job.secret:
                body = who % (index * job.stride) + end
                yield (head + signer.headers(keys, f"/{job.operation}", body, time.time()) + "\r\n").encode() + body
            else:
                yield start % (index * job.stride) + end


def is_whole(answer: bytes) -> bool:
    """Whether all of it came. Raises ValueError where it has no Content-Length."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.index(b"\r\ncontent-length:") + 17
    line = head.find(b"\r", at)
    return len(answer) - end - 4 >= int(head[at : line if line > 0 else end])


class Load:
    """The connections of one job, and what came of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seen = Seen()
        self._requests = requests(job)
        self._took = array("d")
        self._ports = [
            job.ports[number % len(job.ports)] for number in range(min(job.connections, job.count or job.connections))
        ]
        self._sockets: dict[int, socket.socket] = {}
        self._port_of: dict[int, int] = {}
        self._since: dict[int, float] = {}
        self._parts: dict[int, bytes] = {}

    def run(self) -> Seen:
        cpu = time.process_time()
        for port in self._ports:
            self._connect(port)
        try:
            (self._on_schedule if self.job.rate else self._saturate)()
        finally:
            for each in self._sockets.values():
                each.close()
        seen, ordered = self.seen, sorted(self._took)
        seen.seconds = seen.ended - seen.began
        seen.cpu = time.process_time() - cpu
        seen.ms = [ordered[int(share * (len(ordered) - 1))] * 1e3 for share in (0.5, 0.99, 0.999)] if ordered else []
        return seen

    def _connect(self, port: int) -> int:
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[sock.fileno()] = sock
        self._port_of[sock.fileno()] = port
        return sock.fileno()

    def _receive(self, fileno: int) -> bool | None:
        """What there is to read. True: the answer is 200; False: another, or the connection ended; None: not whole."""
        try:
            piece = self._sockets[fileno].recv(1 << 16)
        except OSError:
            piece = b""
        data = self._parts.pop(fileno, b"") + piece
        if piece and not is_whole(data):
            self._parts[fileno] = data
            return None
        if piece and data.startswith(OK):
            return True
        self.seen.failed += 1
        self.seen.first_error = self.seen.first_error or repr(data[:300])
        return False

    def _reconnect(self, fileno: int) -> int:
        self._sockets.pop(fileno).close()
        return self._connect(self._port_of.pop(fileno))

    def _saturate(self) -> None:
        job, seen, since, clock = self.job, self.seen, self._since, time.monotonic
        poll = select.epoll()
        send: dict[int, Callable[[bytes], int]] = {}
        start = clock()
        seen.began = start + job.warm
        until = seen.began + job.seconds if not job.count else float("inf")
        left = job.count or sys.maxsize
        for fileno, sock in self._sockets.items():
            poll.register(fileno, select.EPOLLIN)
            send[fileno] = sock.send
            since[fileno] = clock()
            sock.send(next(self._requests))
        asked = len(send)
        now, waiting = start, len(send)
        while waiting:
            ready = poll.poll(LATE_S)
            if not ready:
                raise SystemExit(f"{waiting} calls were not answered within {LATE_S:.0f} s")
            for fileno, _ in ready:
                good = self._receive(fileno)
                if good is None:
                    continue
                now = clock()
                seen.all_calls += good
                if good and seen.began <= now < until:
                    self._took.append(now - since[fileno])
                if not good:
                    poll.unregister(fileno)
                    del send[fileno]
                    fileno = self._reconnect(fileno)
                    poll.register(fileno, select.EPOLLIN)
                    send[fileno] = self._sockets[fileno].send
                if now < until and asked < left:
                    asked += 1
                    since[fileno] = now
                    send[fileno](next(self._requests))
                else:
                    waiting -= 1
        poll.close()
        seen.calls = len(self._took)
        seen.ended = min(now, until)

    def _on_schedule(self) -> None:
        job, seen, since, clock = self.job, self.seen, self._since, time.monotonic
        idle = deque(self._sockets)  # in turn, so that each manager has its share
        start = due = clock()
        seen.began, seen.ended = start + job.warm, start + job.warm + job.seconds
        while due < seen.ended or len(idle) < len(self._ports):
            now = clock()
            if now > seen.ended + LATE_S:
                raise SystemExit(f"{len(self._ports) - len(idle)} calls were not answered within {LATE_S:.0f} s")
            while due <= now and due < seen.ended and idle:
                fileno = idle.popleft()
                since[fileno] = due
                self._sockets[fileno].send(next(self._requests))
                due += random.expovariate(job.rate)
            wait = max(0.0, due - clock()) if idle and due < seen.ended else 1.0
            for fileno in select.select(list(self._sockets), [], [], wait)[0]:
                good = self._receive(fileno)
                if good is None:
                    continue
                seen.all_calls += good
                if good and since[fileno] >= seen.began:
                    self._took.append(clock() - since[fileno])
                idle.append(fileno if good else self._reconnect(fileno))
        seen.calls = len(self._took)


def respond() -> None:
    """Answer what comes on each connection with 200; a request comes in one piece here, for the loader sends it so."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server, select.epoll() as poll:
        print(server.getsockname()[1], flush=True)
        poll.register(server, select.EPOLLIN)
        poll.register(sys.stdin, select.EPOLLIN)  # its end is ours
        clients: dict[int, socket.socket] = {}
        while True:
            for fileno, _ in poll.poll():
                if fileno in clients:
                    if clients[fileno].recv(1 << 16):
                        clients[fileno].send(answer)
                    else:
                        clients.pop(fileno).close()
                elif fileno == server.fileno():
                    client = server.accept()[0]
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    clients[client.fileno()] = client
                    poll.register(client, select.EPOLLIN)
                else:
                    return


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(asdict(Load(Job(**json.loads(line))).run())), flush=True)


if __name__ == "__main__":
    respond() if sys.argv[1:] == ["--respond"] else main()
