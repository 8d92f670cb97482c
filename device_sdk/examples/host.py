"""A host as a managed device, over its own paho-mqtt client: `python host.py BROKER FLEET DEVICE [PASSWORD]`.

It sends a heartbeat each minute and prints what happens, and the models of a plan. It does not download them. Ctrl-C
ends it.
"""
# mypy: ignore-errors

import os
import sys

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device_sdk.agent import Agent
from device_sdk.port import in_file
from device_sdk.port_paho import PahoPort

DAY = 86400
"""Seconds for which the broker keeps messages for this host."""
LAYOUT = ["host example 1.0", [["system", "load-average"]], []]


def measure(agent):
    agent.sample("load-average", os.getloadavg()[0])


def install(definition):
    print("install", definition.handle, "from", definition.url)


def remove(definition):
    print("remove", definition.handle)


def main(host, fleet, device, password=None):
    # With MQTT 5 the broker reports what it denies, and why.
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, f"{fleet}/{device}", protocol=paho.MQTTv5)
    client.username_pw_set(f"{fleet}/{device}", password)
    agent = Agent(LAYOUT, install, remove, measure, store=in_file("agent.state"), max_payload=None)
    port = PahoPort(agent, client, fleet, device, log=print)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = DAY
    print("connecting to", host, "as", f"{fleet}/{device}")
    client.connect_async(host, clean_start=False, properties=session)  # it tries until the broker is there
    client.loop_start()
    port.run()


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5) or sys.argv[1].startswith("-"):
        help = "--help" in sys.argv
        print(__doc__ if help else "usage: python host.py BROKER FLEET DEVICE [PASSWORD]")
        sys.exit(0 if help else 2)
    main(*sys.argv[1:])
