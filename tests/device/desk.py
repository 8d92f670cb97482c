"""A first program with `log=print`, with one mistake in it: `desk.py PORT MISTAKE`, started by host/test_log.py.

Beats each second until it is ended.
"""

import sys

from device_sdk.agent import Agent
from device_sdk.port import Port

LAYOUT = ["1.0.0", [["room", "temperature", -1]], []]
mistake = sys.argv[2]


def measure(agent):
    if mistake == "metric":
        agent.sample("humidity", 50)
    if mistake == "value":
        agent.sample("temperature", float("nan"))
    if mistake == "raises":
        raise OSError("no sensor")
    agent.sample("temperature", 213)


def clock():
    raise OSError("no clock")


port = Port(
    Agent(LAYOUT, print, print, measure, interval=1, keep=2),
    "no.such.invalid" if mistake == "host" else "127.0.0.1",
    "fleet-a",
    "dev-1",
    "wrong" if mistake == "password" else "secret",
    int(sys.argv[1]),
    size=20 if mistake == "size" else 512,
    log=None if mistake == "off" else print,
)
if mistake == "off":
    print("imported" if "device_sdk.log" in sys.modules else "not imported")
if mistake == "clock":
    port.clock = clock
if mistake == "silent":
    port.client.timeout = 500
if mistake == "keep":
    for n in range(4):
        port.agent.sample("temperature", n)
port.run()
