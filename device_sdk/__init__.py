"""The device side of the edge gateway: heartbeats, deployment plans and their results over MQTT.

Imports nothing, so that a board pays only for the modules that it uses: `from device_sdk.agent import Agent`.
"""

__version__ = "0.1.0"
