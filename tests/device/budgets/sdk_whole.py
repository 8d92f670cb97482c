"""The whole agent on MicroPython, as small as a user would write it, for sdk_budgets.py.

Its state is in a file, the largest payload of either way 256 bytes. Beats until a plan with a model file has been
carried out, its result is acked and 20 heartbeats arrived; fails where memory runs out.
"""

from device_sdk.agent import Agent
from device_sdk.port import Port, in_file

LAYOUT = ["1.0.0", [["sys", "free-heap"], ["sys", "rssi"]], []]


def measure(agent):
    agent.sample("free-heap", 81344)
    agent.sample("rssi", -61)


def main(port):
    agent = Agent(LAYOUT, print, print, measure, 1, in_file("state"), 256, 8, "")
    way = Port(agent, "127.0.0.1", "fleet-a", "dev-000001", None, port, size=256)
    beats = 0
    while beats < 20 or not agent.have or agent.result:
        agent.due = agent.at = 0
        way.step(20)
        beats += 1
        if way.error or agent.bad or (agent.result and agent.result[1] != "SUCCESS"):
            raise way.error or MemoryError
