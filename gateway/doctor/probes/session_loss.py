"""Reads what the gateway recorded of its session at the broker. It changes nothing."""

import os

from gateway import connections
from gateway.config import Settings
from gateway.doctor.result import ProbeFailure
from gateway.mqtt import SessionRecord


def probe_session_loss(settings: Settings) -> SessionRecord | ProbeFailure | None:
    """None: there is no record."""
    try:
        os.listdir(settings.state_dir)
    except FileNotFoundError:
        return None
    except OSError as error:
        return ProbeFailure(f"state_dir {settings.state_dir}: {error.strerror}")
    return connections.session_file(settings).record
