"""The circuit breaker, the failure records of devices, and when a call is given up."""

from dataclasses import dataclass, field

import pytest

from gateway.cloud.availability import (
    ATTEMPTS_TO_GIVE_UP,
    LOW_FAILURE_SHARE,
    OPENS_AT,
    PROBES,
    Availability,
    CircuitBreaker,
    FailureDecision,
    FailureRecord,
    ServiceUptime,
)
from gateway.errors import CloudError, OperatorError, TransientError
from gateway.protocol.messages import Device
from gateway.protocol.service_calls import (
    Abandoned,
    Call,
    Cancelled,
    GetDeployments,
    GetDeviceRegistration,
    RetryLater,
    SendHeartbeat,
)

MAX_LIMIT = 128
FLEET = [Device("fleet-a", f"dev-{number}") for number in range(50)]


def opened(limit: int = MAX_LIMIT) -> CircuitBreaker:
    """A breaker that has just opened."""
    breaker = CircuitBreaker(limit)
    assert [breaker.on_failure(device) for device in FLEET[:OPENS_AT]] == [False] * (OPENS_AT - 1) + [True]
    return breaker


def probe_fails(breaker: CircuitBreaker) -> bool:
    breaker.half_open()
    return breaker.on_failure(FLEET[0])


def test_a_new_breaker_is_closed() -> None:
    breaker = CircuitBreaker(MAX_LIMIT)
    assert (breaker.limit, breaker.open, breaker.recovering) == (MAX_LIMIT, False, False)


def test_it_opens_if_many_devices_fail_in_a_row() -> None:
    breaker = opened()
    assert (breaker.limit, breaker.open, breaker.failed_probes) == (0, True, 1)


def test_one_device_alone_never_opens_it() -> None:
    breaker = CircuitBreaker(MAX_LIMIT)
    assert not any(breaker.on_failure(device) for device in FLEET[: OPENS_AT - 1] * 100)
    assert breaker.limit == MAX_LIMIT


def test_many_failures_between_successes_never_open_it() -> None:
    breaker = CircuitBreaker(MAX_LIMIT)
    for device in FLEET * 10:
        assert not breaker.on_failure(device)
        if device in FLEET[:: OPENS_AT - 1]:
            breaker.on_success(0.0)
    assert not breaker.open


def test_calls_in_flight_when_it_opened_change_nothing() -> None:
    breaker = opened()
    assert not any(breaker.on_failure(device) for device in FLEET)
    assert (breaker.limit, breaker.failed_probes) == (0, 1)


def test_a_failed_probe_opens_it_again_and_the_next_waits_longer() -> None:
    breaker = opened()
    for failed in (2, 3, 4):
        breaker.half_open()
        assert breaker.limit == PROBES
        assert breaker.on_failure(FLEET[0])
        assert (breaker.limit, breaker.failed_probes) == (0, failed)
        assert not breaker.on_failure(FLEET[1]), "the other probes"


def test_a_successful_probe_begins_the_recovery() -> None:
    breaker = opened()
    assert probe_fails(breaker)
    breaker.half_open()
    breaker.on_success(100.0)
    assert (breaker.limit, breaker.open, breaker.recovering) == (PROBES, False, True)


def test_a_successful_call_in_flight_begins_the_recovery_too() -> None:
    breaker = opened()
    breaker.on_success(100.0)
    breaker.half_open()
    assert (breaker.limit, breaker.recovering) == (PROBES, True)


@pytest.mark.parametrize(
    ("seconds", "limit"), [(0.0, PROBES), (1.0, 2 * PROBES), (2.0, 4 * PROBES), (5.0, 32 * PROBES), (6.0, MAX_LIMIT)]
)
def test_however_quick_the_service_is_the_limit_doubles_once_a_second(seconds: float, limit: int) -> None:
    breaker = opened()
    breaker.on_success(100.0)
    for _ in range(1000):
        breaker.on_success(100.0 + seconds)
    assert (breaker.limit, breaker.recovering) == (limit, limit < MAX_LIMIT)


def test_with_a_slow_service_the_limit_grows_by_one_for_each_success() -> None:
    breaker = opened()
    breaker.on_success(100.0)
    seen = []
    for number in range(1, 6):
        breaker.on_success(100.0 + 100 * number)
        seen.append(breaker.limit)
    assert seen == [PROBES + number for number in range(1, 6)]


def test_it_opens_again_if_the_service_fails_during_the_recovery() -> None:
    breaker = opened()
    breaker.on_success(100.0)
    assert [breaker.on_failure(device) for device in FLEET[:OPENS_AT]][-1]
    assert (breaker.limit, breaker.open, breaker.recovering, breaker.failed_probes) == (0, True, False, 1)


@pytest.mark.parametrize("limit", [1, 2])
def test_the_limit_is_never_above_its_maximum(limit: int) -> None:
    breaker = opened(limit)
    breaker.half_open()
    assert breaker.limit == limit
    breaker.on_success(100.0)
    breaker.on_success(200.0)
    assert (breaker.limit, breaker.recovering) == (limit, False)


def test_the_share_of_failures_is_that_of_first_attempts() -> None:
    breaker = CircuitBreaker(MAX_LIMIT)
    for number in range(10_000):
        if number % 10 < 3:
            breaker.on_failure(FLEET[0])
        else:
            breaker.on_success(float(number))
        breaker.on_failure(FLEET[1], first=False)
    assert 0.2 < breaker.failure_share < 0.4


@pytest.mark.parametrize(("limit", "state"), [(0, "open"), (PROBES, "recovering"), (MAX_LIMIT, "closed")])
def test_its_repr_names_its_state(limit: int, state: str) -> None:
    breaker = CircuitBreaker(MAX_LIMIT) if state == "closed" else opened()
    if state == "recovering":
        breaker.on_success(0.0)
    assert repr(breaker) == f"<CircuitBreaker {state}, limit {limit}>"


def test_half_open_changes_nothing_once_the_service_works() -> None:
    breaker = CircuitBreaker(MAX_LIMIT)
    breaker.half_open()
    assert breaker.limit == MAX_LIMIT


# Giving up

FAILED = TransientError("ThrottlingException", "slow down")
OPERATOR = OperatorError("AccessDenied", "no")


@dataclass
class Case:
    """A call that fails since second 0, when the service had worked for 1,000 s; give_up_after 300 s."""

    record: FailureRecord = field(default_factory=lambda: FailureRecord(0.0, 1000.0, 1000))
    share: float = 0.0
    availability: Availability = field(default_factory=lambda: Availability(MAX_LIMIT, 300.0, 0.0))

    def __post_init__(self) -> None:
        self.availability.uptime = ServiceUptime(60.0, 0.0, 1000.0, 1000)
        self.availability.breaker.failure_share = self.share

    def given_up(self, now: float, error: CloudError = FAILED) -> bool:
        self.record.attempts += 1
        return self.availability.should_give_up(self.record, error, now)

    def others(self, successes: int, seconds: float = 0.0) -> None:
        self.availability.uptime.successes += successes
        self.availability.uptime.seconds += seconds


def test_during_an_outage_nothing_is_given_up() -> None:
    case = Case()
    assert not any(case.given_up(second) for second in range(0, 10_000, 20))


def test_a_call_that_fails_while_others_succeed_is_given_up() -> None:
    case = Case()
    case.others(100, 299.0)
    assert not case.given_up(1000)
    case.others(1, 1.0)
    assert not case.given_up(299)
    assert case.given_up(300)


def test_an_error_that_an_operator_must_correct_is_not_given_up() -> None:
    case = Case()
    case.others(100, 10_000)
    assert not case.given_up(100_000, OPERATOR)


def test_a_call_that_blocks_others_is_given_up_after_some_attempts() -> None:
    case = Case()
    case.others(1)
    case.record.blocks_others = True
    assert [case.given_up(1) for _ in range(8)] == [False] * 7 + [True]


def test_a_call_that_blocks_others_is_given_up_after_one_attempt_if_the_last_one_was() -> None:
    case = Case()
    case.others(1)
    case.record.blocks_others = case.record.gave_up_before = True
    assert case.given_up(1)


@pytest.mark.parametrize(("share", "error", "successes"), [(0.11, FAILED, 1), (0.0, OPERATOR, 1), (0.0, FAILED, 0)])
def test_a_call_that_blocks_others_is_not_given_up_if_the_service_may_be_the_reason(
    share: float, error: CloudError, successes: int
) -> None:
    """Others fail too; an operator must act; or no other call has succeeded since."""
    case = Case(share=share)
    case.others(successes)
    case.record.blocks_others = True
    assert not any(case.given_up(1, error) for _ in range(100))


@pytest.mark.parametrize("error", [FAILED, OPERATOR])
def test_one_call_blocks_others_for_no_longer_than_the_limit(error: CloudError) -> None:
    """The uptime cannot grow: the messages of the others wait for the one."""
    case = Case(share=0.5)
    case.others(1)
    case.record.blocks_others = True
    assert not case.given_up(299, error)
    assert case.given_up(300, error)


def test_the_uptime_grows_between_successes_and_not_in_an_outage() -> None:
    uptime = ServiceUptime(gap=60.0, last_success=1000.0)
    clock, seen = 1000.0, []
    for pause in (0, 10, 30, 3600, 5):
        clock += pause
        uptime.on_success(clock)
        seen.append(uptime.seconds)
    assert (seen, uptime.successes) == ([0, 10, 40, 100, 105], 5)


def test_one_success_never_makes_a_call_be_given_up() -> None:
    for limit in (1.0, 100.0, 300.0):
        assert Availability(MAX_LIMIT, limit, 0.0).uptime.gap <= min(60.0, limit / 2)


# From failures to decisions

ALONE = RetryLater(only_this_device=True)
TOGETHER = RetryLater(only_this_device=False)


def beat(device: Device = FLEET[0]) -> SendHeartbeat:
    return SendHeartbeat(device, "1.0.0", (), (), None)


def available(give_up_after: float = 300.0) -> Availability:
    return Availability(MAX_LIMIT, give_up_after, 0.0)


def fail(availability: Availability, call: Call, now: float = 0.0, error: CloudError = FAILED) -> FailureDecision:
    return availability.on_failure(call, error, now)


def test_a_device_that_fails_alone_waits_alone() -> None:
    availability = available()
    assert [fail(availability, beat()) for _ in range(3)] == [FailureDecision(ALONE, n, False) for n in (1, 2, 3)]
    assert repr(availability) == f"<Availability <CircuitBreaker closed, limit {MAX_LIMIT}>, 1 failing>"


@pytest.mark.parametrize("accepted", [True, False])
def test_an_answer_ends_the_failure_record_of_its_operation(accepted: bool) -> None:
    availability = available()
    fail(availability, beat())
    fail(availability, GetDeviceRegistration(FLEET[0]))
    availability.on_answer(beat(), 1.0, accepted)
    assert (fail(availability, beat()).failures, fail(availability, GetDeviceRegistration(FLEET[0])).failures) == (1, 2)


def test_a_rejection_is_no_uptime() -> None:
    availability = available()
    availability.on_answer(beat(), 1.0, accepted=False)
    assert availability.uptime.successes == 0
    availability.on_answer(beat(), 2.0)
    assert availability.uptime.successes == 1


def test_the_success_of_a_device_whose_other_operation_fails_is_no_uptime() -> None:
    availability = available()
    fail(availability, beat())
    availability.on_answer(GetDeviceRegistration(FLEET[0]), 1.0)
    assert availability.uptime.successes == 0
    availability.on_answer(GetDeviceRegistration(FLEET[1]), 1.0)
    assert availability.uptime.successes == 1


def test_a_call_that_is_not_worth_a_retry_is_cancelled_and_leaves_no_record() -> None:
    availability = available()
    decision = fail(availability, GetDeployments(FLEET[0], False))
    assert decision == FailureDecision(Cancelled(str(FAILED)), 1, False)
    assert fail(availability, GetDeployments(FLEET[0], True)).failures == 1


def test_where_all_fail_no_device_is_the_reason() -> None:
    availability = available()
    decisions = [fail(availability, beat(device)) for device in FLEET[:OPENS_AT]]
    assert decisions[-2:] == [FailureDecision(ALONE, 1, False), FailureDecision(TOGETHER, 1, True)]
    assert fail(availability, beat(FLEET[0])) == FailureDecision(TOGETHER, 1, False)
    availability.breaker.half_open()
    assert fail(availability, beat(FLEET[0])) == FailureDecision(TOGETHER, 2, True)
    availability.on_answer(beat(FLEET[1]), 1.0)
    assert fail(availability, beat(FLEET[0])) == FailureDecision(ALONE, 1, False)


def test_the_time_of_the_call_after_one_that_was_given_up_starts_at_zero() -> None:
    availability = available(give_up_after=10.0)
    assert fail(availability, beat(), 0.0) == FailureDecision(ALONE, 1, False)
    for second in range(1, 12):
        availability.on_answer(beat(FLEET[1]), float(second))
    assert fail(availability, beat(), 11.0) == FailureDecision(Abandoned(str(FAILED)), 2, False)
    assert fail(availability, beat(), 100.0) == FailureDecision(ALONE, 1, False)
    for second in range(101, 112):
        availability.on_answer(beat(FLEET[1]), float(second))
    assert fail(availability, beat(), 109.0).outcome == ALONE
    assert fail(availability, beat(), 111.0).outcome == Abandoned(str(FAILED))


def test_a_device_that_blocks_others_is_given_up_soon_and_the_next_call_at_once() -> None:
    availability = available()
    fail(availability, beat())
    for number in range(100):
        availability.on_answer(beat(FLEET[1 + number % 40]), 1.0)
    assert availability.breaker.failure_share <= LOW_FAILURE_SHARE
    attempts = 1
    outcome: object = ALONE
    while outcome == ALONE:
        availability.mark_blocking(FLEET[0])
        outcome = fail(availability, beat(), 1.0).outcome
        attempts += 1
    assert (outcome, attempts) == (Abandoned(str(FAILED)), ATTEMPTS_TO_GIVE_UP)
    availability.mark_blocking(FLEET[0])
    availability.on_answer(beat(FLEET[1]), 2.0)
    assert fail(availability, beat(), 2.0).outcome == ALONE, "no success since its first failure"
    availability.on_answer(beat(FLEET[1]), 3.0)
    availability.mark_blocking(FLEET[0])
    assert fail(availability, beat(), 3.0).outcome == Abandoned(str(FAILED))
