"""A device that takes models, as a program of its own: `model_device.py HOST PORT FLEET DEVICE PASSWORD`.

It runs on CPython and on MicroPython, keeps its state and its model files in the current folder, and says in JSON lines
each result that it made, and each plan that it has carried out, with the callbacks since the line before. A model
whose file begins with "bad" does not run.
"""

import json
import sys

from device_sdk.agent import Agent
from device_sdk.port import Port, in_file

calls = []


def install(definition):
    with open(definition.path, "rb") as file:
        begin = file.read(16).decode()
    calls.append("+" + begin)
    if begin.startswith("bad"):
        raise ValueError("it does not run")


def remove(definition):
    calls.append("-" + definition.handle)


def report(**values):
    print(json.dumps(dict(values, calls=calls)))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()
    calls.clear()


def main(host, port, fleet, name, password):
    """Never returns."""
    agent = Agent(["1.0.0", [], []], install, remove, interval=1, store=in_file("state"), files="")
    device = Port(agent, host, fleet, name, password, int(port))
    deployment = plan = None
    while True:
        device.step(100)
        if agent.result and agent.result[0] != deployment:
            deployment = agent.result[0]
            report(result=agent.result[1:3], models=[row[4:7] for row in agent.result[5]])
        if agent.have not in (0, plan) and not agent.busy:
            plan = agent.have
            report(plan=plan)


if __name__ == "__main__":
    main(*sys.argv[1:])
