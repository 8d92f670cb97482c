"""Whether and when the Edge Manager is called: circuit breaker, failure records of devices, giving up.

Pure: `now` is monotonic seconds. It must never send a call, start a timer or read a clock.

The service (CircuitBreaker; `limit` is the number of concurrent calls):

    closed ------ OPENS_AT devices fail in a row, no call succeeds ------> open
      limit = max_limit                                                      limit = 0
      ^                                                                      |  ^
      | limit = max_limit                                  after a wait: PROBES  | a probe fails: longer wait
      |                                                                      v  |
    recovering <------------------- a call succeeds ---------------------- half-open
      limit grows from PROBES ------ OPENS_AT devices fail in a row ---> (open)

One operation of one device (FailureRecord), while the breaker is not open:

    no record -- fails --> backing off -- fails, should_give_up --> given up -- fails --> backing off
        ^                      |                                       |
        +--- succeeds, is rejected, or the breaker opens --------------+
"""

from dataclasses import dataclass
from typing import NamedTuple, get_args

from gateway.errors import CloudError, OperatorError
from gateway.protocol import Abandoned, Call, Cancelled, Device, GetDeployments, RetryLater

OPENS_AT = 10
"""Devices that fail in a row. Where three of ten calls fail by chance, one in 170,000 calls opens the breaker."""
PROBES = 3
"""Concurrent calls of a half-open breaker. They are of different devices: one device may always fail."""
DOUBLING = 1.0
"""Seconds in which the limit at most doubles after an outage."""
SHARE_CALLS = 64
"""Calls over which the share of failures is averaged, approximately."""
ATTEMPTS_TO_GIVE_UP = 8
"""Failed attempts after which a call that blocks others is given up, if the others' calls rarely fail."""
LOW_FAILURE_SHARE = 0.1
"""With this share eight calls in a row fail by chance once in 100,000,000."""

_OPERATIONS = get_args(Call)


class CircuitBreaker:
    """Limits concurrent calls to `max_limit`. `failed_probes`: probes that failed in this outage, plus one; else 0."""

    def __init__(self, max_limit: int) -> None:
        self._max_limit = max_limit
        self._failed_in_a_row: set[Device] = set()
        self._recovering_since: float | None = None
        self.limit = max_limit
        self.failed_probes = 0
        self.failure_share = 0.0
        """Recent share of failures among first attempts."""

    def __repr__(self) -> str:
        state = "open" if self.open else "recovering" if self.recovering else "closed"
        return f"<CircuitBreaker {state}, limit {self.limit}>"

    @property
    def open(self) -> bool:
        """Whether the service fails for all devices (open or half-open)."""
        return self.failed_probes > 0

    @property
    def recovering(self) -> bool:
        """Whether the service works again and the limit is not back at its maximum."""
        return self._recovering_since is not None

    def on_success(self, now: float, first: bool = True) -> None:
        """The service accepted or rejected a call. `first`: it was a first attempt."""
        if first:
            self.failure_share -= self.failure_share / SHARE_CALLS
        if self._failed_in_a_row:
            self._failed_in_a_row.clear()
        if self.failed_probes:
            self.failed_probes, self._recovering_since, self.limit = 0, now, min(PROBES, self._max_limit)
        elif self._recovering_since is not None:
            allowed = PROBES * 2 ** min((now - self._recovering_since) / DOUBLING, 20)
            self.limit = min(self._max_limit, self.limit + 1, int(allowed))
            if self.limit == self._max_limit:
                self._recovering_since = None

    def on_failure(self, device: Device, first: bool = True) -> bool:
        """An attempt failed. True: call `half_open` after a wait."""
        if first:
            self.failure_share += (1 - self.failure_share) / SHARE_CALLS
        if self.open:
            probe_failed = self.limit > 0
            self.limit, self.failed_probes = 0, self.failed_probes + probe_failed
            return probe_failed
        self._failed_in_a_row.add(device)
        if len(self._failed_in_a_row) < OPENS_AT:
            return False
        self._recovering_since, self.limit, self.failed_probes = None, 0, 1
        return True

    def half_open(self) -> None:
        """The wait of an open breaker is over: some calls may probe the service."""
        if self.open:
            self.limit = min(PROBES, self._max_limit)


@dataclass(slots=True)
class ServiceUptime:
    """For how long the service has worked. `seconds` grows by the time between successes, by `gap` at most each."""

    gap: float
    last_success: float
    seconds: float = 0.0
    successes: int = 0

    def on_success(self, now: float) -> None:
        self.seconds += min(now - self.last_success, self.gap)
        self.successes += 1
        self.last_success = now


@dataclass(slots=True)
class FailureRecord:
    """An operation of one device that fails. `since`, `seconds`, `successes`: now and the uptime at the first failure.

    `blocks_others`: the other devices' messages cannot be acknowledged before its own. `gave_up_before`: the call
    before this one was given up, and none has succeeded since.
    """

    since: float
    seconds: float
    successes: int
    attempts: int = 0
    blocks_others: bool = False
    gave_up_before: bool = False


class FailureDecision(NamedTuple):
    """What follows from a failure. `failures`: failed attempts of the device, or failed probes if the breaker is open.

    `probe_due`: call `half_open` after a wait.
    """

    outcome: RetryLater | Abandoned | Cancelled
    failures: int
    probe_due: bool


class Availability:
    """Decides from the result of each call what follows. `give_up_after` in seconds; `max_limit` concurrent calls."""

    def __init__(self, max_limit: int, give_up_after: float, now: float) -> None:
        self.breaker = CircuitBreaker(max_limit)
        # The gap is short enough that a single success never makes a call be given up.
        self.uptime = ServiceUptime(min(60.0, give_up_after / 2), now)
        self._give_up_after = give_up_after
        self._records: dict[tuple[Device, type[Call]], FailureRecord] = {}

    def __repr__(self) -> str:
        return f"<Availability {self.breaker!r}, {len(self._records)} failing>"

    def on_answer(self, call: Call, now: float, accepted: bool = True) -> None:
        """The service accepted or rejected a call."""
        if not self._records:
            if accepted:
                self.uptime.on_success(now)
            self.breaker.on_success(now)
            return
        if accepted and not self._other_operation_fails(call):
            self.uptime.on_success(now)
        record = self._records.pop((call.device, type(call)), None)
        self.breaker.on_success(now, record is None)

    def _other_operation_fails(self, call: Call) -> bool:
        """Then the success does not show that the service works for other devices."""
        return any((call.device, each) in self._records for each in _OPERATIONS if each is not type(call))

    def on_failure(self, call: Call, error: CloudError, now: float) -> FailureDecision:
        """A call failed, and the same call may succeed later."""
        record = self._records.get((call.device, type(call)))
        probe_due = self.breaker.on_failure(call.device, record is None)
        if isinstance(call, GetDeployments) and not call.retryable:
            return FailureDecision(Cancelled(str(error)), 1, probe_due)
        if self.breaker.open:
            self._records.clear()  # the devices did not cause it
            return FailureDecision(RetryLater(only_this_device=False), self.breaker.failed_probes, probe_due)
        if record is None:
            record = self._new_record(call, now)
        elif record.attempts == 0:  # its last call was given up
            record.since, record.seconds, record.successes = now, self.uptime.seconds, self.uptime.successes
        record.attempts += 1
        if self.should_give_up(record, error, now):
            self._new_record(call, now).gave_up_before = True
            return FailureDecision(Abandoned(str(error)), record.attempts, probe_due)
        record.blocks_others = False
        return FailureDecision(RetryLater(only_this_device=True), record.attempts, probe_due)

    def _new_record(self, call: Call, now: float) -> FailureRecord:
        record = FailureRecord(now, self.uptime.seconds, self.uptime.successes)
        self._records[call.device, type(call)] = record
        return record

    def mark_blocking(self, device: Device) -> None:
        """All other devices wait for the failing calls of this one."""
        for operation in _OPERATIONS:
            record = self._records.get((device, operation))
            if record is not None:
                record.blocks_others = True

    def should_give_up(self, record: FailureRecord, error: CloudError, now: float) -> bool:
        """Whether a call failed for `give_up_after` seconds while the service worked for others.

        A call that blocks others is given up earlier: their calls cannot succeed meanwhile to show that it works.
        """
        waited = now - record.since
        if record.blocks_others and self.uptime.successes > record.successes:
            enough = record.attempts >= (1 if record.gave_up_before else ATTEMPTS_TO_GIVE_UP)
            its_fault = self.breaker.failure_share <= LOW_FAILURE_SHARE and not isinstance(error, OperatorError)
            return (enough and its_fault) or waited >= self._give_up_after
        if isinstance(error, OperatorError):
            return False
        return min(waited, self.uptime.seconds - record.seconds) >= self._give_up_after
