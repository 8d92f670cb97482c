"""A fake Edge Manager that checks signatures where a scenario asks for it, and reports accepted calls to the ledger.

It must never report a call that it did not accept, nor reply before it reported.
"""

import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime

from tests.faults.ledger import Ledger
from tests.faults.service_faults import EXPIRED, SKEWED
from tests.support.edge_manager import FakeEdgeManager, Reply, Request


@dataclass(frozen=True, slots=True)
class Signature:
    """What is checked of one: the access key, and the date in Unix seconds."""

    key: str = ""
    date: float = 0.0

    @classmethod
    def of_request(cls, request: Request) -> "Signature":
        key = (request.header("Authorization") or "").partition("Credential=")[2].partition("/")[0]
        date = request.header("X-Amz-Date")
        return cls(key, 0.0 if date is None else datetime.strptime(date + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp())


class FaultyEdgeManager(FakeEdgeManager):
    """`attempts` counts calls by (operation, whether accepted). `times`: monotonic seconds of the accepted ones.

    `good_key`: the one access key that may sign; `skew_allowed`: how many seconds a signature's date may be off;
    None: not checked. `issued`: what a client that asks for credentials gets. `states`: by device, what it and its
    broker said on `live`, in the order of the calls.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.attempts: Counter[tuple[str, bool]] = Counter()
        self.times: list[float] = []
        self.good_key: str | None = None
        self.skew_allowed: float | None = None
        self.issued: dict[str, str] = {}
        self.states: defaultdict[str, list[int]] = defaultdict(list)
        self.ledger = ledger

    def count(self, accepted: bool | None = None, operation: str | None = None) -> int:
        """How many calls came; None: whatever."""
        wanted = ((op, ok) for op, ok in self.attempts if operation in (None, op) and accepted in (None, ok))
        return sum(self.attempts[each] for each in wanted)

    def reply_to(self, request: Request) -> Reply:
        if request.operation == "credentials":
            return Reply(body=json.dumps(self.issued))
        return self.rule(request) or self._signature_fault(request) or Reply()

    def _signature_fault(self, request: Request) -> Reply | None:
        """None: the signature is good, or not checked."""
        if self.good_key is None and self.skew_allowed is None:
            return None
        signature = Signature.of_request(request)
        if self.good_key not in (None, signature.key):
            return EXPIRED
        if self.skew_allowed is not None and abs(signature.date - time.time()) > self.skew_allowed:
            return SKEWED
        return None

    def replying(self, request: Request, reply: Reply) -> None:
        if request.operation == "credentials":
            return
        self.attempts[request.operation, reply.accepts] += 1
        if reply.accepts:
            self._accept(request)

    def _accept(self, request: Request) -> None:
        self.times.append(time.monotonic())
        if request.operation == "SendHeartbeat":
            body = request.json
            metrics = body.get("AgentMetrics", [])
            said = [metric["Value"] for metric in metrics if metric.get("MetricName") == "state"]
            if said:  # it is a call of its own
                self.states[body["DeviceName"]] += said
                return
            samples = [(metric["Value"], int(metric["Timestamp"])) for metric in metrics]
            result = body.get("DeploymentResult", {}).get("DeploymentName")
            self.ledger.accepted(body["DeviceName"], samples, result)
