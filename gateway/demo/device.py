"""A device of the demo: `device.py HOST PORT FLEET DEVICE own|paho FILES/`, password in DEVICE_PASSWORD.

It runs on CPython and on MicroPython, so it must never use what MicroPython lacks, and of this project only
device_sdk. Its uptime and memory are real, its temperature and its inferences are invented.
"""

import os
import sys

from device_sdk.agent import Agent
from device_sdk.plan import Definition

MICROPYTHON = sys.implementation.name == "micropython"
MODEL = "keyword-spotting"
INTERVAL = 1  # seconds between heartbeats


def runtime() -> str:
    """The interpreter, which becomes a part of the agent version."""
    version = ".".join([str(number) for number in sys.implementation.version[:2]])
    if not MICROPYTHON:
        return "CPython " + version
    import gc

    heap = gc.mem_alloc() + gc.mem_free()  # type: ignore[attr-defined]
    return "MicroPython {} in {} KB".format(version, (heap + 1023) // 1024)  # noqa: UP032  MicroPython may lack f-strings


def layout(client: str) -> list[object]:
    """The protocol's [agent_version, [metric, ...], [model, ...]]."""
    metrics = [["system", "uptime"], ["system", "memory"], ["room", "temperature", -1]]
    model = [MODEL, "1.0", [["system", "latency-ms"], ["system", "confidence", -2]]]
    return ["demo on " + runtime() + (" with paho" if client == "paho" else ""), metrics, [model]]


def memory() -> int:
    """Bytes in use: of MicroPython's heap, or by CPython's objects."""
    if MICROPYTHON:
        import gc

        gc.collect()
        return gc.mem_alloc()  # type: ignore[attr-defined,no-any-return]
    import tracemalloc

    return tracemalloc.get_traced_memory()[0]


def measure(agent: Agent) -> None:
    """The agent calls it before each heartbeat."""
    now = agent.now
    agent.sample("uptime", now)
    agent.sample("memory", memory())
    agent.sample("temperature", 213 + now % 7)
    if agent.have and installed:
        agent.sample(MODEL + "/latency-ms", 12 + now % 3)
        agent.sample(MODEL + "/confidence", 90 + now % 10)
        agent.inference()


installed: list[object] = []


def install(definition: Definition) -> None:
    """Install a model. The SDK has written its file and checked the SHA-1.

    The text of an exception becomes the StatusReason of the DeploymentResult.
    """
    if not definition.path:
        raise ValueError("a model without a file")
    definition.name, definition.version = definition.handle, "1.0"
    installed.append(definition.handle)
    print("installed", definition.path, os.stat(definition.path)[6], "bytes")  # noqa: T201


def remove(definition: Definition) -> None:
    if definition.handle in installed:
        installed.remove(definition.handle)
    print("removed", definition.handle)  # noqa: T201


def run_own_client(agent: Agent, host: str, port: int, fleet: str, device: str, password: str) -> None:
    """As on a board: with the SDK's MQTT client."""
    from device_sdk.port import Port

    Port(agent, host, fleet, device, password, port=port).run()


def run_paho(agent: Agent, host: str, port: int, fleet: str, device: str, password: str) -> None:
    """As on a host with paho-mqtt."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    from device_sdk.port_paho import PahoPort

    client = paho.Client(CallbackAPIVersion.VERSION2, fleet + "." + device, clean_session=False)
    client.username_pw_set(fleet + "/" + device, password)
    paho_port = PahoPort(agent, client, fleet, device)
    client.connect(host, port)
    client.loop_start()
    paho_port.run()


def main(host: str, port: str, fleet: str, device: str, client: str, files: str) -> None:
    """Runs until it is killed."""
    if not MICROPYTHON:
        import tracemalloc

        tracemalloc.start()
    agent = Agent(layout(client), install, remove, measure, interval=INTERVAL, files=files)
    agent.fetch = True
    run = run_paho if client == "paho" else run_own_client
    run(agent, host, int(port), fleet, device, os.getenv("DEVICE_PASSWORD") or "")


if __name__ == "__main__":
    main(*sys.argv[1:])
