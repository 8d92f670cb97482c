"""The device side of the edge gateway: heartbeats, deployment plans and their results over MQTT.

A board loads only the modules that it imports, `from device_sdk.agent import Agent`. It does not need this file: only
here the runtimes differ.
A name that MicroPython's firmware already has (`read`, `next`, `pop`, `hash`) costs no heap: many are used here.
A module that is rarely needed is imported late: `plan`, when the first plan comes.
"""

import time

__version__ = "0.1.0"

if not hasattr(time, "ticks_ms"):  # CPython
    from . import host, mqtt

    mqtt.select, mqtt.socket, mqtt.time = host.select, host.socket, host.time

    from .port import Port

    Port.run = host.run
