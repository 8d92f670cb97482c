"""For how long a plan rests that the broker did not take."""

import pytest

from gateway.core import REFUSED_FOR, SUSPECTED_FOR
from gateway.mqtt import CLOSED
from gateway.pipeline.dispatcher import plan_rest


@pytest.mark.parametrize(("reason", "rest"), [(0x97, 0), (CLOSED | 0x95, REFUSED_FOR), (CLOSED, SUSPECTED_FOR)])
def test_a_plan_rests_after_closes_alone_and_shorter_without_a_reason(reason: int, rest: float) -> None:
    assert plan_rest(reason) == rest
