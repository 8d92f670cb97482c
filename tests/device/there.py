"""A device that announces itself on `live`: `there.py PORT SLEEP [woke]`, started by host/test_announced.py.

Beats each second until it is ended; where SLEEP is not 0 it sleeps so many seconds after its first heartbeat.
"""

import sys

from device_sdk.agent import Agent
from device_sdk.port import in_file
from device_sdk.port_board import BoardPort

number = int(sys.argv[1])
sleep = int(sys.argv[2])
agent = Agent(["1.0.0", [["room", "temperature", -1]], []], interval=sleep or 1, store=in_file("state"))
woke = "woke" in sys.argv
port = BoardPort(agent, "127.0.0.1", "fleet-a", "dev-1", port=number, live=True, woke=woke)
if not sleep:
    port.run()
while agent.busy or not agent.wait(port.now()):
    port.step(100)
port.sleep(sleep)
