"""Credentials expire, and the source of new ones is late."""

from datetime import UTC, datetime, timedelta

from tests.faults.scene import Scene, scaled
from tests.support.gateway_process import GatewayProcess


def issued(key: str) -> dict[str, str]:
    """As a container's credential endpoint gives them; soon over, so that boto3 asks again whenever it is asked."""
    end = datetime.now(UTC) + timedelta(minutes=5)
    return {
        "AccessKeyId": key,
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def rotating(scene: Scene) -> GatewayProcess:
    """A gateway that has its credentials from the cloud's own endpoint for them."""
    variables = scene.variables()
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{scene.cloud.url}/credentials"
    return scene.enter(GatewayProcess(variables))


def test_credentials_expire_and_come_back(scene: Scene) -> None:
    """While they are expired nothing is answered and nothing settled; new ones are taken without a restart."""
    scene.cloud.issued = issued("key-0")
    gateway = rotating(scene)
    scene.join(scaled(20, 200))
    scene.load(scaled(200, 1000))
    for turn in range(1, scaled(3, 20)):
        scene.until_accepted(40)
        scene.cloud.good_key = f"key-{turn}"
        scene.until_failed(10)
        gateway.said(
            "Edge Manager rejects our calls (credentials, permissions or endpoint); messages stay queued at the broker"
        )
        scene.go_on(scaled(0.3, 10))
        scene.cloud.issued = issued(f"key-{turn}")
        gateway.said("Edge Manager accepts calls again")
    scene.until_accepted(40)
    scene.rest()
    scene.until_through()
    assert scene.close_books().told == 0
