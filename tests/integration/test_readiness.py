"""What /readyz tells: a broker that is away, and AWS credentials that are not there, until boto3 finds some."""

from pathlib import Path

from tests.integration.conftest import Way
from tests.integration.forms import LAYOUT, T
from tests.support.gateway_process import GatewayProcess, settings

MISSING = "no AWS credentials: calls cannot be signed, messages stay at the broker"


def test_missing_credentials_are_told_at_once_and_looked_for_again(way: Way, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    variables = settings(way.broker.address, way.recorder.url, way.fleet, way.state)
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    variables["AWS_SHARED_CREDENTIALS_FILE"] = str(file)
    gateway = way.entered.enter_context(GatewayProcess(variables))
    gateway.said(MISSING)
    assert gateway.readiness() == (503, ["no AWS credentials"])
    device = way.device("dev-1")
    device.heartbeat(LAYOUT, T, [1], None, None, None, 1)
    gateway.said(
        "Edge Manager rejects our calls (credentials, permissions or endpoint); messages stay queued at the broker"
    )
    file.write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    assert device.ack(1) == (0, "")
    gateway.said("AWS credentials found")
    assert gateway.readiness() == (200, [])


def test_a_gateway_without_its_broker_is_not_ready(way: Way) -> None:
    variables = settings(way.broker.address, way.recorder.url, way.fleet, way.state)
    nobody = "mqtt://127.0.0.1:9"
    gateway = GatewayProcess(variables | {"GATEWAY_MQTT_URL": nobody})
    gateway.launch()
    with way.entered:
        way.entered.callback(gateway.kill)
        assert gateway.readiness() == (503, [f"not connected and subscribed to {nobody}"])


def test_two_gateways_of_one_client_id_are_told_and_slow_down(way: Way, tmp_path: Path) -> None:
    """Each throws the other out at the broker. Neither makes a storm of it: the waits grow."""
    way.open()
    second = GatewayProcess(settings(way.broker.address, way.recorder.url, way.fleet, tmp_path, retry_cap=600))
    second.launch()
    with way.entered:
        way.entered.callback(second.kill)
        said = second.said("connections to the broker do not last: does another gateway use this client_id?")
        assert said["level"] == "error"
        assert said["client_id"] == f"gateway-of-{way.fleet}"
        assert said["in_a_row"] == 3
