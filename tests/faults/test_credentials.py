"""Credentials expire, and the source of new ones is late."""

from datetime import UTC, datetime, timedelta

from tests.faults.scenario import Scenario, scaled
from tests.support.gateway_process import CALLS_REJECTED, GatewayProcess


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
