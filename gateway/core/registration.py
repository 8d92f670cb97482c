"""Registration: asked of the service before a device's first call, and known for as long as the answer says."""

from gateway.core.device_state import DeviceState, InFlight
from gateway.core.effects import Effects
from gateway.core.hellos import HelloTracker
from gateway.errors import Code
from gateway.protocol import GetDeviceRegistration, Registration

MAX_UNREGISTERED_TTL = 60.0
"""Seconds for which "not registered" is kept at most, whatever CacheTTL says."""


class RegistrationCheck:
    """`registered_values`: the answers, in lower case, that mean a registered device. `enabled`: else all are taken."""

    def __init__(self, enabled: bool, registered_values: frozenset[str], hellos: HelloTracker) -> None:
        self.enabled = enabled
        self._registered_values = registered_values
        self._hellos = hellos

    def start(self, effects: Effects, state: DeviceState) -> InFlight | None:
        """The call to make; None where the device is known as not registered: what waits is rejected."""
        if effects.now.mono >= state.unregistered_until:
            return InFlight(GetDeviceRegistration(state.device))
        self._reject_waiting(effects, state)
        return None

    def on_answer(self, effects: Effects, state: DeviceState, answer: Registration) -> bool:
        """Whether the device is registered; else what waits is rejected."""
        if answer.status.casefold() in self._registered_values:
            state.registered_until = effects.now.mono + answer.ttl
            return True
        state.unregistered_until = effects.now.mono + min(answer.ttl, MAX_UNREGISTERED_TTL)
        self._reject_waiting(effects, state)
        return False

    def _reject_waiting(self, effects: Effects, state: DeviceState) -> None:
        self._hellos.end_wait(state)
        detail = f"{state.device} is not registered"
        effects.reject(state.take_all(), Code.NOT_REGISTERED, detail, state.max_payload)
