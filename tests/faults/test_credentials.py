"""Credentials expire or are rotated, and their source is late, fails or hangs."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.scenario import Scenario, scaled
from tests.support.edge_manager import End, FakeEdgeManager, Reply, always
from tests.support.gateway_process import CALLS_REJECTED, GatewayProcess

ENDPOINTS = {"direct": "", "boto3": "/path"}
"""What follows the service's URL. With a path boto3 sends the calls."""
SOURCES = {"container": "container-role", "process": "custom-process"}
"""botocore's names."""
SHARED_FILE = "[default]\naws_access_key_id = {}\naws_secret_access_key = secret\n"
WAITING = "waiting for AWS credentials: their source does not answer yet; calls cannot be signed"
MISSING = "no AWS credentials: calls cannot be signed, messages stay at the broker"
FOUND = "AWS credentials found"


def issued(key: str) -> dict[str, str]:
    """As a container's credential endpoint gives them; soon over, so that boto3 asks again whenever it is asked."""
    end = datetime.now(UTC) + timedelta(minutes=5)
    return {
        "AccessKeyId": key,
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def rotating(scenario: Scenario) -> GatewayProcess:
    """A gateway that has its credentials from the cloud's own endpoint for them."""
    variables = scenario.variables()
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{scenario.service.url}/credentials"
    return scenario.enter(GatewayProcess(variables))


def test_credentials_expire_and_come_back(scenario: Scenario) -> None:
    """While they are expired nothing is answered and nothing acknowledged; new ones are taken without a restart."""
    scenario.service.issued = issued("key-0")
    gateway = rotating(scenario)
    scenario.join(scaled(20, 200))
    scenario.load(scaled(200, 1000))
    for turn in range(1, scaled(3, 20)):
        scenario.until_accepted(40)
        scenario.service.good_key = f"key-{turn}"
        scenario.until_failed(10)
        gateway.wait_for_log(CALLS_REJECTED)
        scenario.run_for(scaled(0.3, 10))
        scenario.service.issued = issued(f"key-{turn}")
        gateway.wait_for_log("Edge Manager accepts calls again")
    scenario.until_accepted(40)
    scenario.stop_load()
    scenario.until_through()
    assert scenario.check_ledger().errors == 0


def by_files(scenario: Scenario, **more: str) -> dict[str, str]:
    """The environment of a gateway whose only credentials are those that the shared files name."""
    variables = scenario.variables() | more
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    variables["AWS_SHARED_CREDENTIALS_FILE"] = str(scenario.folder / "credentials")
    variables["AWS_CONFIG_FILE"] = str(scenario.folder / "config")
    return variables


@pytest.mark.parametrize("transport", ENDPOINTS)
def test_keys_are_rotated_in_the_shared_credentials_file(transport: str, scenario: Scenario) -> None:
    """The service takes the old ones no more: those that the file has now are used, without a restart."""
    file = scenario.folder / "credentials"
    file.write_text(SHARED_FILE.format("key-0"))
    scenario.service.good_key = "key-0"
    url = scenario.service.url + ENDPOINTS[transport]
    gateway = scenario.enter(GatewayProcess(by_files(scenario, AWS_ENDPOINT_URL_SAGEMAKER_EDGE=url)))
    scenario.join(20)
    scenario.load(scaled(100, 1000))
    for turn in range(1, scaled(3, 20)):
        scenario.until_accepted(20)
        scenario.service.good_key = f"key-{turn}"
        scenario.until_failed(10)
        file.write_text(SHARED_FILE.format(f"key-{turn}"))
        gateway.wait_for_log("Edge Manager accepts calls again")
    scenario.until_accepted(20)
    scenario.stop_load()
    scenario.until_through()
    assert scenario.check_ledger(transport).errors == 0


@pytest.mark.parametrize("source", ["container", "process", "profile"])
def test_a_source_of_credentials_is_not_there_at_the_start(source: str, scenario: Scenario) -> None:
    """It is an outage: the gateway is up, its log says what is missing, and goes on when the source is there."""
    script, config = scenario.folder / "issue", scenario.folder / "config"
    issuer = FakeEdgeManager()
    more = {}
    if source == "container":
        more["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{issuer.url}/credentials"
    elif source == "profile":
        more["AWS_PROFILE"] = "site"
    else:
        config.write_text(f"[default]\ncredential_process = {script}\n")
    gateway = scenario.enter(GatewayProcess(by_files(scenario, **more)))
    gateway.wait_for_log(MISSING)
    assert gateway.readiness() == (503, ["no AWS credentials"])
    scenario.join(10)
    scenario.beat()
    scenario.until_confirmed()
    assert scenario.service.count() == 0
    keys = json.dumps({"Version": 1} | issued("key"))
    if source == "container":
        issuer.rule = always(Reply(body=keys))
        scenario.run(issuer.open())
    elif source == "profile":
        config.write_text("[profile site]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    else:
        script.write_text(f"#!/bin/sh\necho '{keys}'\n")
        script.chmod(0o700)
    gateway.wait_for_log(FOUND)
    scenario.until_through()
    if source == "container":
        scenario.run(issuer.close())
    assert scenario.check_ledger(source).errors == 0


@pytest.mark.parametrize("source", ["container", "process"])
def test_a_source_of_credentials_hangs_at_the_start(source: str, scenario: Scenario) -> None:
    """The log names it, the status pages answer, and SIGTERM ends the gateway in time."""
    more = {}
    if source == "container":
        issuer = FakeEdgeManager()
        issuer.rule = always(Reply(end=End.HANG))
        scenario.run(issuer.open())
        more["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{issuer.url}/credentials"
    else:
        (scenario.folder / "config").write_text("[default]\ncredential_process = sleep 60\n")
    gateway = GatewayProcess(by_files(scenario, **more, GATEWAY_DRAIN_TIMEOUT="1"))
    scenario.enter(gateway)
    assert gateway.wait_for_log(WAITING)["source"] == SOURCES[source]
    assert gateway.readiness() == (503, ["no AWS credentials"])
    scenario.join(1)
    scenario.beat()
    scenario.until_confirmed()
    stopped = time.monotonic()
    assert gateway.terminate() == 0
    assert time.monotonic() - stopped < 1 + 10  # drain_timeout, and what the unit for systemd gives beyond it
    if source == "container":
        scenario.run(issuer.close())
