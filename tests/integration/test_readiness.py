"""What /readyz says: a broker that is away, and AWS credentials that are not there, until boto3 finds some."""

from pathlib import Path

from tests.integration.testbed import Testbed
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.payloads import LAYOUT, T

MISSING = "no AWS credentials: calls cannot be signed, messages stay at the broker"


def test_missing_credentials_are_logged_at_once_and_looked_for_again(testbed: Testbed, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    variables = settings(testbed.broker.address, testbed.service.url, testbed.fleet, testbed.state)
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    variables["AWS_SHARED_CREDENTIALS_FILE"] = str(file)
    gateway = testbed.cleanup.enter_context(GatewayProcess(variables))
    gateway.wait_for_log(MISSING)
    assert gateway.readiness() == (503, ["no AWS credentials"])
    device = testbed.device("dev-1")
    device.heartbeat(LAYOUT, T, [1], None, None, None, 1)
    gateway.wait_for_log(
        "Edge Manager rejects our calls (credentials, permissions or endpoint); messages stay queued at the broker"
    )
    file.write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    assert device.ack(1) == (0, "")
    gateway.wait_for_log("AWS credentials found")
    assert gateway.readiness() == (200, [])


def test_a_gateway_without_its_broker_is_not_ready(testbed: Testbed) -> None:
    variables = settings(testbed.broker.address, testbed.service.url, testbed.fleet, testbed.state)
    nobody = "mqtt://127.0.0.1:9"
    gateway = GatewayProcess(variables | {"GATEWAY_MQTT_URL": nobody})
    gateway.launch()
    with testbed.cleanup:
        testbed.cleanup.callback(gateway.kill)
        assert gateway.readiness() == (503, [f"not connected and subscribed to {nobody}"])


def test_two_gateways_of_one_client_id_log_it_and_slow_down(testbed: Testbed, tmp_path: Path) -> None:
    """Each one's connection ends the other's at the broker. The waits between the attempts grow."""
    testbed.open()
    second = GatewayProcess(
        settings(testbed.broker.address, testbed.service.url, testbed.fleet, tmp_path, retry_cap=600)
    )
    second.launch()
    with testbed.cleanup:
        testbed.cleanup.callback(second.kill)
        said = second.wait_for_log("connections to the broker do not last: the waits between the attempts grow")
        assert said["level"] == "error"
        assert said["client_id"] == f"gateway-of-{testbed.fleet}"
        assert said["in_a_row"] == 3
