"""A board in deep sleep between its heartbeats. Fill in the names, copy it to the board as main.py.

It takes plans: it stays awake while a plan, a model file or a result is under way, and goes on at its next wake. It
announces when that is, so that its silence is not taken for a failure.
The memory of the board's clock keeps tag, time and a result that is not acked, while the board has power. A board
without such memory uses `in_file("agent.state")`. With `log=print` the port says what happens; then each wake asks
for an ack.
"""
# mypy: ignore-errors

import machine
import network

from device_sdk.agent import Agent
from device_sdk.port_board import BoardPort

LAYOUT = ["sleeper 1.0", [["system", "voltage", -3]], []]
AWAKE = 60  # maximum seconds: without a broker the battery must not be emptied


def measure(agent):
    agent.sample("voltage", machine.ADC(0).read_uv() // 1000)


def install(definition):  # the text of an exception becomes the StatusReason
    print("here is", definition.handle, "verified, in", definition.path)


def remove(definition):
    print(definition.handle, "is not wanted any more")


wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("network", "secret")

agent = Agent(LAYOUT, install, remove, measure, interval=600, store=machine.RTC().memory, files="")
woke = machine.reset_cause() == machine.DEEPSLEEP_RESET
port = BoardPort(agent, "broker.local", "fleet-a", "dev-000001", password="secret", wlan=wlan, woke=woke, live=True)
while (agent.busy or not agent.wait(port.now())) and port.now() < AWAKE:
    port.step(100)
port.sleep(600)
machine.deepsleep(600000)
