"""The device side of the edge gateway: heartbeats, deployment plans and their results over MQTT.

A board pays only for the modules that it uses, `from device_sdk.agent import Agent`, and has no need of this file.
A name that MicroPython's firmware has already (`read`, `next`, `pop`, `hash`) costs a board no heap: hence many here.
What a board rarely needs is imported when it is needed: `plan`, when the first plan comes.
"""

__version__ = "0.1.0"
