"""The device side of the edge gateway: heartbeats, deployment plans and their results over MQTT.

A board loads only the modules that it imports, `from device_sdk.agent import Agent`. It does not need this file.
A name that MicroPython's firmware already has (`read`, `next`, `pop`, `hash`) costs no heap: many are used here.
A module that is rarely needed is imported late: `plan`, when the first plan comes.
"""

__version__ = "0.1.0"
