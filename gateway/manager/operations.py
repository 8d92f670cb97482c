"""The three operations of `sagemaker-edge` over the store, for groups of calls: inputs and time in, outputs back.

It must never answer GetDeployments for a device that is not registered: an empty list would make it drop its models.
GetDeviceRegistration answers NOT_REGISTERED; the other two raise ApiError.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog
from sqlalchemy.exc import DBAPIError

from gateway.manager.api import latest_values
from gateway.manager.api.validation import compile_operations, load_service_model, parse_input
from gateway.manager.errors import ApiError, StoreUnavailable, validation_error
from gateway.manager.groups import Later
from gateway.manager.rollouts import RolloutRunner
from gateway.manager.store import DevicePlan, HeartbeatCall, Store, Transaction

KEPT = 100_000
"""Answers to GetDeployments that are kept at most."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")

Output: TypeAlias = bytes | str
"""JSON, as it is sent. Of SendHeartbeat, which has no output: the version of the device (`StoredDevice`)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One checked GetDeployments, or GetDeviceRegistration, that came at `now`."""

    fleet: str
    device: str
    deployments: bool
    now: float


class EdgeApi:
    """The operations over one store. `registered_ttl` and `unregistered_ttl`: CacheTTL of the answers, in seconds.

    Raises RuntimeError where botocore's service model has other operations. `record`, `answer` and
    `mark_fetched` are each for one thread.
    """

    def __init__(self, store: Store, registered_ttl: int = 300, unregistered_ttl: int = 60) -> None:
        self.store = store
        self._registered = {"DeviceRegistration": "REGISTERED", "CacheTTL": str(registered_ttl)}
        not_registered = {"DeviceRegistration": "NOT_REGISTERED", "CacheTTL": str(unregistered_ttl)}
        self._not_registered = _json(not_registered | {"RegistrationTime": None})
        self._runner = RolloutRunner(store)
        self._kept: dict[int, tuple[int, bytes]] = {}
        self._checks = compile_operations(load_service_model())
        if set(self._checks) != {"GetDeployments", "GetDeviceRegistration", "SendHeartbeat"}:
            found = sorted(self._checks)
            raise RuntimeError(f"the installed botocore has other operations for sagemaker-edge: {found}")

    def parse(self, operation: str, body: bytes, now: float) -> HeartbeatCall | Question:
        """One call that came at `now` (Unix seconds), checked. Raises ApiError."""
        check = self._checks.get(operation)
        if check is None:
            raise ApiError("UnknownOperationException", f"there is no operation '{operation[:80]}'", 404)
        call = parse_input(check, body)
        fleet, device = call["DeviceFleetName"], call["DeviceName"]
        if operation == "SendHeartbeat":
            return HeartbeatCall(fleet, device, latest_values(call, now), now)
        return Question(fleet, device, operation == "GetDeployments", now)

    def handle(self, operation: str, body: bytes, now: float) -> Any:
        """One call alone; its output as JSON has it. Raises ApiError and StoreUnavailable."""
        call = self.parse(operation, body, now)
        outputs: Sequence[Output | Exception | Later]
        if isinstance(call, HeartbeatCall):
            outputs = self.record([call])
        else:
            while (outputs := self.answer([call])) == [Later.LATER]:
                self.mark_fetched([call])
        [output] = outputs
        if isinstance(output, Exception):
            raise output
        return json.loads(output) if isinstance(output, bytes) else None

    def record(self, heartbeats: Sequence[HeartbeatCall]) -> list[Output | Exception]:
        """Accepts a group of heartbeats in one transaction, then takes the steps of rollouts that follow from results.

        A call that the database refuses fails alone. Raises StoreUnavailable: nothing of the group is stored.
        """
        try:
            versions, rollouts = self.store.record(heartbeats, self._runner.on_results)
        except DBAPIError:
            if len(heartbeats) == 1:
                LOG.exception(
                    "call failed: nothing of it is stored, the caller may repeat it", operation="SendHeartbeat"
                )
                return [ApiError("InternalServiceException", "the manager failed; its log says why")]
            middle = len(heartbeats) // 2
            return [*self._record_part(heartbeats[:middle]), *self._record_part(heartbeats[middle:])]
        with suppress(StoreUnavailable, DBAPIError):  # the heartbeats are stored; the background takes the steps
            for rollout in rollouts:
                self._runner.advance(rollout, heartbeats[-1].now)
        return [
            versions.get((each.fleet, each.device)) or _not_registered(each.fleet, each.device) for each in heartbeats
        ]

    def _record_part(self, heartbeats: Sequence[HeartbeatCall]) -> Sequence[Output | Exception]:
        """The other part may be stored already."""
        try:
            return self.record(heartbeats)
        except StoreUnavailable as error:
            return [error] * len(heartbeats)

    def answer(self, questions: Sequence[Question]) -> list[Output | Exception | Later]:
        """Answers a group from one moment of the database; `Later`: `mark_fetched` first. Raises StoreUnavailable."""
        return self.store.read(lambda transaction: self._read(transaction, questions))

    def mark_fetched(self, questions: Sequence[Question]) -> list[Output | Exception | Later]:
        """Marks the plans of these devices as fetched; then they can be answered. Raises StoreUnavailable.

        That comes first: a rollout that stops must not withdraw what a device has.
        """
        names = {(each.fleet, each.device): None for each in questions}

        def mark(transaction: Transaction) -> None:
            plans = transaction.read_plans(names).values()
            fetched = {each.device: each.number for each in plans if each.fetched != each.number}
            self._runner.on_fetched(transaction, fetched, questions[-1].now)

        self.store.write(mark)
        return [Later.LATER] * len(questions)

    def _read(self, transaction: Transaction, questions: Sequence[Question]) -> list[Output | Exception | Later]:
        plans = transaction.read_plans({(each.fleet, each.device): None for each in questions})
        asked: dict[int, int] = {}
        for each in questions:
            plan = plans.get((each.fleet, each.device))
            if each.deployments and plan is not None and plan.fetched == plan.number:
                asked[plan.device] = plan.number
        missing = [device for device, number in asked.items() if self._kept.get(device, (-1,))[0] != number]
        if missing:
            if len(self._kept) + len(missing) > KEPT:
                self._kept.clear()
                missing = list(asked)
            for device, deployments in transaction.deployments_in_force(missing).items():
                self._kept[device] = asked[device], _json({"Deployments": [each.to_api() for each in deployments]})
        return [self._output(each, plans.get((each.fleet, each.device))) for each in questions]

    def _output(self, question: Question, plan: DevicePlan | None) -> Output | Exception | Later:
        if not question.deployments:
            if plan is None:
                return self._not_registered
            # RegistrationTime is not the API's: by it a gateway tells two devices of one name apart.
            return _json(self._registered | {"RegistrationTime": plan.registered})
        if plan is None:
            return _not_registered(question.fleet, question.device)
        return self._kept[plan.device][1] if plan.fetched == plan.number else Later.LATER


def _not_registered(fleet: str, device: str) -> ApiError:
    return validation_error(f"Device {device} is not registered in device fleet {fleet}")


def _json(members: object) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()
