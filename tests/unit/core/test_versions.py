"""Versions of devices, as this project's Edge Manager says them: what is asked at once, and what not in vain."""

import pytest

from gateway.core import DeleteRetained, PublishPlan, SaveRegistration
from gateway.core.device_state import SAME_VERSION_TTL
from gateway.core.effects import Effect
from gateway.core.engine import Policy
from gateway.core.registration import ASK_AGAIN_AFTER, ASKED_AGAIN, MAX_UNREGISTERED_TTL
from gateway.errors import Code
from gateway.protocol import (
    Accepted,
    Device,
    DeviceVersion,
    Get,
    GetDeployments,
    GetDeviceRegistration,
    Heartbeat,
    Registration,
    Rejected,
    SendHeartbeat,
)
from tests.support.engine import ACCEPTED, DEVICE, HELLO, LAYOUT, EngineHarness, calls, codes, of_type, plan, type_names

ASK = [GetDeployments(DEVICE, retryable=False)]
TTL = 30.0
ASK_AGAIN = Accepted(Registration("NOT_REGISTERED", 60.0, ask_again=True))


@pytest.fixture
def harness() -> EngineHarness:
    """Registration is not asked for, the hello of DEVICE is known, answers without versions are kept for TTL."""
    harness = EngineHarness(Policy(ask_registration=False, plan_ttl=TTL))
    harness.restore_hello()
    return harness


def beat(harness: EngineHarness, version: str | None, have: int | None = 11) -> list[Effect]:
    """A heartbeat is accepted with that version: what follows."""
    harness.receive(Heartbeat(HELLO.tag, 1, have=have))
    return harness.resolve(Accepted(None if version is None else DeviceVersion(version)))


def fetch(harness: EngineHarness, version: str | None, digest: int = 11) -> list[Effect]:
    """A heartbeat after which the service is asked, and what follows from its answer."""
    assert calls(beat(harness, version)) == ASK
    return harness.resolve(Accepted(plan(digest)))


def published(effects: list[Effect]) -> list[int]:
    return [effect.digest for effect in of_type(effects, PublishPlan)]


# Plans


def test_another_version_brings_the_plan_with_the_next_heartbeat(harness: EngineHarness) -> None:
    assert published(fetch(harness, "1.0/1")) == []
    assert calls(beat(harness, "1.0/1")) == []
    assert published(fetch(harness, "1.0/2", 12)) == [12]


def test_while_the_version_stays_nothing_is_asked_for_an_hour(harness: EngineHarness) -> None:
    fetch(harness, "1.0/1")
    harness.wait(SAME_VERSION_TTL - 1.0)
    assert calls(beat(harness, "1.0/1")) == []
    harness.wait(1.0)
    assert calls(beat(harness, "1.0/1")) == ASK


def test_where_versions_end_a_plan_is_kept_for_plan_ttl(harness: EngineHarness) -> None:
    fetch(harness, "1.0/1")
    harness.wait(TTL - 1.0)
    assert calls(beat(harness, None)) == []
    harness.wait(1.0)
    assert calls(beat(harness, None)) == ASK


def test_what_was_asked_before_a_version_was_known_is_asked_once_more(harness: EngineHarness) -> None:
    fetch(harness, None)
    fetch(harness, "1.0/1")
    assert calls(beat(harness, "1.0/1")) == []


def test_the_answer_of_a_get_has_the_version_of_the_heartbeat_before(harness: EngineHarness) -> None:
    beat(harness, "1.0/1", have=None)
    harness.receive(Get(None))
    harness.resolve(Accepted(plan(11)))
    assert calls(beat(harness, "1.0/1")) == []
    assert calls(beat(harness, "1.0/2")) == ASK


def test_a_question_that_failed_is_asked_after_plan_ttl_or_at_another_version(harness: EngineHarness) -> None:
    assert calls(beat(harness, "1.0/1")) == ASK
    harness.resolve(Rejected("no"))
    assert calls(beat(harness, "1.0/1")) == []
    assert calls(beat(harness, "1.0/2")) == ASK
    harness.resolve(Rejected("no"))
    harness.wait(TTL)
    assert calls(beat(harness, "1.0/2")) == ASK


def test_a_plan_that_the_device_lost_is_asked_for_whatever_the_version(harness: EngineHarness) -> None:
    fetch(harness, "1.0/1")
    assert calls(beat(harness, "1.0/1", have=0)) == ASK


# Registrations


def test_another_registration_replaces_the_plan_with_its_first_heartbeat(harness: EngineHarness) -> None:
    """Also where the device says no `have`, and where it has the plan: the broker's copy is the earlier device's."""
    assert of_type(beat(harness, "1.0/1", have=None), SaveRegistration) == [SaveRegistration(DEVICE, 1.0)]
    for since, have in ((2.0, None), (3.0, 11)):
        assert calls(beat(harness, f"{since}/0", have)) == ASK
        effects = harness.resolve(Accepted(plan(11)))
        assert (published(effects), of_type(effects, SaveRegistration)) == ([11], [SaveRegistration(DEVICE, since)])
        assert calls(beat(harness, f"{since}/0", have)) == []


def test_a_registration_that_is_known_replaces_nothing(harness: EngineHarness) -> None:
    harness.engine.restore_registration(DEVICE, 1.5)
    assert type_names(beat(harness, "1.5/7", have=None)) == ["Acknowledge"]


def test_a_replacement_that_fails_is_tried_by_a_heartbeat_after_plan_ttl(harness: EngineHarness) -> None:
    harness.engine.restore_registration(DEVICE, 1.0)
    assert calls(beat(harness, "2.0/0", have=None)) == ASK
    harness.resolve(Rejected("no"))
    assert calls(beat(harness, "2.0/0", have=None)) == []
    harness.wait(TTL)
    assert calls(beat(harness, "2.0/0", have=None)) == ASK
    assert published(harness.resolve(Accepted(plan(11)))) == [11]


@pytest.mark.parametrize("version", ["", "nan/1", "inf/1", "a/1", "\xff/1"])
def test_a_version_of_another_form_is_compared_and_says_nothing_else(harness: EngineHarness, version: str) -> None:
    assert of_type(beat(harness, version), SaveRegistration) == []
    harness.resolve(Accepted(plan(11)))
    assert calls(beat(harness, version)) == []


def asking() -> EngineHarness:
    """A harness that asks for the registration, and knows the device's hello."""
    harness = EngineHarness(Policy())
    harness.restore_hello()
    return harness


def test_an_accepted_heartbeat_with_a_version_says_that_the_device_is_registered() -> None:
    harness = asking()
    harness.receive(Heartbeat(HELLO.tag, 1))
    harness.resolve(Accepted(Registration("REGISTERED", 300.0, 1.0)))
    harness.resolve(Accepted(DeviceVersion("1.0/0")))
    for version, asked in (("1.0/0", SendHeartbeat), (None, SendHeartbeat), (None, GetDeviceRegistration)):
        harness.wait(200.0)
        [call] = calls(harness.receive(Heartbeat(HELLO.tag, 1)))
        assert type(call) is asked
        harness.resolve(Accepted(None if version is None else DeviceVersion(version)))


def test_a_device_that_is_registered_meanwhile_is_accepted_with_its_next_heartbeat() -> None:
    harness = asking()
    heartbeat = Heartbeat(HELLO.tag, 1, seq=7)
    harness.receive(heartbeat)
    assert DeleteRetained(DEVICE) in harness.resolve(ASK_AGAIN)
    harness.wait(ASK_AGAIN_AFTER / 2)
    assert codes(harness.receive(heartbeat)) == [(7, Code.NOT_REGISTERED)]
    harness.wait(ASK_AGAIN_AFTER / 2)
    assert calls(harness.receive(heartbeat)) == [GetDeviceRegistration(DEVICE)]
    harness.resolve(Accepted(Registration("REGISTERED", 300.0, 1.0)))
    assert codes(harness.resolve(ACCEPTED)) == [(7, Code.ACCEPTED)]


def test_a_flood_of_devices_that_are_not_registered_is_asked_for_at_a_bounded_rate() -> None:
    harness = EngineHarness(Policy())
    devices = [Device("f", str(number)) for number in range(5 * ASKED_AGAIN)]
    message = Heartbeat(LAYOUT, None)
    for device in devices:
        harness.receive(message, device)
        harness.resolve(ASK_AGAIN, device)
    seconds, asked = int(MAX_UNREGISTERED_TTL) - 1, 0
    for _ in range(seconds):
        harness.wait(1.0)
        for device in devices:
            if calls(harness.receive(message, device)):
                asked += 1
                harness.resolve(ASK_AGAIN, device)
    assert seconds * ASKED_AGAIN * 0.9 < asked <= (seconds + 1) * ASKED_AGAIN
