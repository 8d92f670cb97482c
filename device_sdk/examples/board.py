"""A board with Wi-Fi as a managed device. Fill in the names, copy it to the board as main.py.

It connects Wi-Fi, and again whenever it is lost, resets itself where the program stands still for 8 seconds, and prints
what happens. On the desk: `mpremote run board.py`, without the line of the watchdog.
"""
# mypy: ignore-errors

import gc

import machine
import network

from device_sdk.agent import Agent
from device_sdk.port import in_file
from device_sdk.port_board import BoardPort

LAYOUT = ["board example 1.0", [["system", "free-heap"], ["system", "rssi"]], []]


def measure(agent):
    agent.sample("free-heap", gc.mem_free())
    if wlan.isconnected():  # it measures without a connection too, and sends that later
        agent.sample("rssi", wlan.status("rssi"))


def install(definition):
    print("install", definition.handle)  # on failure raise an exception: its text becomes the StatusReason


def remove(definition):
    print("remove", definition.handle)


wlan = network.WLAN(network.STA_IF)
agent = Agent(LAYOUT, install, remove, measure, store=in_file("agent.state"))
port = BoardPort(
    agent, "broker.local", "fleet-a", "dev-000001", "secret", wlan, "network", "secret of the network",
    watchdog=machine.WDT(timeout=8000),  # it cannot be stopped again: leave it out on the desk
    live=True, log=print,
)  # fmt: skip
port.run()
