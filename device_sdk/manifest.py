"""Freezes the SDK into a firmware: `make FROZEN_MANIFEST=.../device_sdk/manifest.py`. MicroPython's build reads it."""
# mypy: ignore-errors

metadata(version="0.1.0", description="An Edge Manager agent for boards")  # noqa: F821
package(  # noqa: F821
    "device_sdk",
    (
        "agent.py",
        "plan.py",
        "heartbeat.py",
        "mqtt.py",
        "port.py",
        # The features: a firmware may leave them out.
        "log.py",
        "backlog.py",
        "vitals.py",
        "health.py",
        "port_async.py",
        "port_board.py",
        "port_umqtt.py",
    ),
    base_path="..",
    opt=3,
)
