"""A device that announces itself on `live`: `there.py PORT SLEEP [woke] [late]`, started by host/test_announced.py.

Beats each second until it is ended; where SLEEP is not 0 it sleeps so many seconds after its first heartbeat;
`late`: not before it has said "ready" and got a line.
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
if "late" in sys.argv:
    print("ready")
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()
    sys.stdin.readline()
port.sleep(sleep)
