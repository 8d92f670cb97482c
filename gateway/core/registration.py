"""Registration: asked of the service before a device's first call, and known for as long as the answer says."""

from gateway.core.device_state import NEVER, NOT_YET, DeviceState, InFlight
from gateway.core.effects import DeleteRetained, Effects, SaveRegistration
from gateway.core.hellos import HelloTracker
from gateway.errors import Code
from gateway.protocol import DeviceVersion, GetDeviceRegistration, Registration

MAX_UNREGISTERED_TTL = 60.0
"""Seconds for which "not registered" is kept at most, whatever CacheTTL says."""
ASK_AGAIN_AFTER = 1.0
"""Seconds for which "not registered" is kept at least, where the service may be asked again at the next message."""
ASKED_AGAIN = 10
"""Devices a second for which it is: all that is not registered must not become as many calls."""
DOUBTED_AFTER = 10.0
"""Seconds after "registered" from which a rejected call may mean that the device was deregistered meanwhile."""


class RegistrationCheck:
    """`registered_values`: the answers, in lower case, that mean a registered device. `enabled`: else all are taken."""

    def __init__(self, enabled: bool, registered_values: frozenset[str], hellos: HelloTracker) -> None:
        self.enabled = enabled
        self._registered_values = registered_values
        self._hellos = hellos
        self._asked_until = NEVER

    def start(self, effects: Effects, state: DeviceState) -> InFlight | None:
        """The call to make; None where the device is known as not registered: what waits is rejected."""
        now = effects.now.mono
        if now >= state.unregistered_until or (now >= state.ask_again_at and self._may_ask_again(now)):
            return InFlight(GetDeviceRegistration(state.device))
        self._reject_waiting(effects, state)
        return None

    def _may_ask_again(self, now: float) -> bool:
        if self._asked_until > now + 1.0:
            return False
        self._asked_until = max(self._asked_until, now) + 1.0 / ASKED_AGAIN
        return True

    def on_answer(self, effects: Effects, state: DeviceState, answer: Registration) -> bool:
        """Whether the device is registered; else what waits is rejected."""
        if answer.status.casefold() in self._registered_values:
            state.registered_at, state.registered_until = effects.now.mono, effects.now.mono + answer.ttl
            state.registered_ttl = answer.ttl
            state.ended = False
            if answer.since not in (None, state.since):
                self._on_new_registration(effects, state, answer.since)
            return True
        state.registered_until = NEVER
        state.unregistered_until = effects.now.mono + min(answer.ttl, MAX_UNREGISTERED_TTL)
        state.ask_again_at = effects.now.mono + ASK_AGAIN_AFTER if answer.ask_again else NOT_YET
        # Each time, since the device may have published again; before what waits for it is acknowledged.
        effects.append(DeleteRetained(state.device))
        state.plan, state.plan_check, state.replace_plan, state.ended = None, None, False, True
        if state.since is not None:
            state.since = None
            effects.append(SaveRegistration(state.device, None))
        self._reject_waiting(effects, state)
        return False

    def on_version(self, effects: Effects, state: DeviceState, version: DeviceVersion | None) -> None:
        """A heartbeat was accepted. A version says that the device is registered, and whether it is another one."""
        if version is not None:
            if version != state.version:
                since = version.since
                if since not in (None, state.since):
                    self._on_new_registration(effects, state, since)
            state.registered_until = max(state.registered_until, effects.now.mono + state.registered_ttl)
        state.version = version

    def _on_new_registration(self, effects: Effects, state: DeviceState, since: float | None) -> None:
        """It is saved at once where it is the first one that is known; else once the earlier device's plan is gone."""
        if state.since is None:
            effects.append(SaveRegistration(state.device, since))
        else:
            state.plan, state.replace_plan = None, True
        state.since = since

    def may_have_ended(self, state: DeviceState, now: float) -> bool:
        """A call was rejected: whether that may be since the device was deregistered after the last answer."""
        return self.enabled and now - state.registered_at >= DOUBTED_AFTER

    def is_due(self, state: DeviceState, now: float) -> bool:
        """Whether the service is to be asked although the device sends nothing: its answer has expired.

        A device that has something to send asks by itself.
        """
        idle = not (state.waiting or state.in_flight or state.backing_off or state.ended)
        return idle and now >= max(state.registered_until, state.unregistered_until)

    def _reject_waiting(self, effects: Effects, state: DeviceState) -> None:
        self._hellos.end_wait(state)
        detail = f"{state.device} is not registered"
        effects.reject(state.take_all(), Code.NOT_REGISTERED, detail, state.max_payload)
