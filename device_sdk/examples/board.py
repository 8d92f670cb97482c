"""A board with Wi-Fi as a managed device. Fill in the names, copy it to the board as main.py."""
# mypy: ignore-errors

import gc
import time

import network

from device_sdk.agent import Agent
from device_sdk.port import Port, in_file

LAYOUT = ["board example 1.0", [["system", "free-heap"], ["system", "rssi"]], []]

wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("network", "secret")
while not wlan.isconnected():
    time.sleep_ms(200)


def measure(agent):
    agent.sample("free-heap", gc.mem_free())
    agent.sample("rssi", wlan.status("rssi"))


def install(definition):
    print("install", definition.handle)  # on failure raise an exception: its text becomes the StatusReason


def remove(definition):
    print("remove", definition.handle)


agent = Agent(LAYOUT, install, remove, measure, store=in_file("agent.state"))
Port(agent, "broker.local", "fleet-a", "dev-000001", password="secret").run()
