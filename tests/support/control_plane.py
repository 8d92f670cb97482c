"""What the tests of the control plane share: a fleet's names, a heartbeat, and how a refusal is read."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.manager.reports import AuditReport, audit_rows
from gateway.manager.store import Store

NAMES = ["a", "b", "c", "d", "e"]
"""Of the devices of the fixture `five`."""
HEARTBEAT = {
    "AgentVersion": "1.2",
    "Models": [{"ModelName": "wake", "ModelVersion": "7", "LatestInference": 1e9, "ModelMetrics": []}],
}


def refusal(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    """Code and message of the error that a call of boto3 must end with."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def audit_of(store: Store) -> list[AuditReport]:
    """The rows of the audit, in the order in which they were written."""
    return store.read(lambda transaction: audit_rows(transaction, limit=1000))[::-1]
