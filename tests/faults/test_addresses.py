"""Broker and Edge Manager under a name whose first address is dead: it refuses, or answers nothing."""

import time
from contextlib import ExitStack

import pytest

from tests.faults.scenario import Scenario
from tests.support.gateway_process import GatewayProcess
from tests.support.host_names import DEAD, NAME, black_hole, command

ENDPOINTS = {"direct": "", "boto3": "/path"}
"""What follows the service's URL. With a path boto3 sends the calls."""


@pytest.mark.parametrize("dead", ["refuses", "silent"])
@pytest.mark.parametrize("transport", ENDPOINTS)
def test_the_first_address_of_a_name_is_dead(transport: str, dead: str, scenario: Scenario) -> None:
    """The next one is tried in time; nothing is lost."""
    at, service = scenario.broker.address, scenario.service
    variables = scenario.variables(connect_timeout=1)
    variables["GATEWAY_MQTT_URL"] = variables["GATEWAY_MQTT_URL"].replace(at.host, NAME)
    variables["AWS_ENDPOINT_URL_SAGEMAKER_EDGE"] = f"http://{NAME}:{service.port}{ENDPOINTS[transport]}"
    with ExitStack() as holes:
        if dead == "silent":
            holes.enter_context(black_hole(at.gateway_port))
            holes.enter_context(black_hole(service.port))
        began = time.monotonic()
        scenario.enter(GatewayProcess(variables, command([DEAD, at.host], "run")))
        up = time.monotonic() - began
        scenario.join(10)
        scenario.beat()
        scenario.until_through()
        assert scenario.check_ledger(f"connected after {up:.1f} s").errors == 0
