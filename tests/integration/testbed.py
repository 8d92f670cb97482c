"""What the integration tests use together: a broker, gateways as processes, a fake Edge Manager, devices."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from paho.mqtt.enums import MQTTProtocolVersion

from gateway.demo.brokers.discovery import Broker
from tests.support.edge_manager import RecordingEdgeManager
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.manager_process import Manager
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import MQTT_3, MQTT_5, Login, Operator, PlainDevice


@dataclass
class Testbed:
    """A broker, a fake Edge Manager, gateways for `fleet`, and clients; `cleanup` ends them all."""

    __test__ = False  # pytest takes the name for that of a test class

    broker: Broker
    fleet: str
    state: Path
    service: RecordingEdgeManager
    cleanup: ExitStack
    gateways: list[GatewayProcess] = field(default_factory=list)

    @property
    def gateway(self) -> GatewayProcess:
        """The one that was made last."""
        return self.gateways[-1]

    @property
    def gateway_login(self) -> Login:
        """The gateway's own login: the one that may write what devices read."""
        at = self.broker.address
        return Login(at.host, at.gateway_port, at.gateway.user, at.gateway.password)

    def open(self, **more: object) -> GatewayProcess:
        """A gateway with `more` settings, connected and subscribed."""
        made = GatewayProcess(settings(self.broker.address, self.service.url, self.fleet, self.state, **more))
        self.gateways.append(made)
        return self.cleanup.enter_context(made)

    def device(self, name: str, protocol: MQTTProtocolVersion = MQTT_3, qos: int = 1) -> PlainDevice:
        """Connected and subscribed. A broker without an ACL speaks MQTT 5 at the gateway's listener alone."""
        at = self.broker.address
        port = at.gateway_port if protocol == MQTT_5 and not at.has_acl else at.device_port
        user = f"{self.fleet}/{name}"
        credentials = self.broker.add_user(user)
        login = Login(at.host, port, credentials.user, credentials.password)
        return self.cleanup.enter_context(PlainDevice(login, user, protocol, qos))

    def known_device(self, name: str, epoch: int | None = EPOCH) -> PlainDevice:
        """Connected and subscribed, its hello published."""
        device = self.device(name)
        device.hello(TAG, LAYOUT, epoch)
        return device

    def operator(self) -> Operator:
        at = self.broker.address
        login = Login(at.host, at.gateway_port, at.operator.user, at.operator.password)
        return self.cleanup.enter_context(Operator(login, self.fleet))


MakeTestbed: TypeAlias = Callable[[Broker, str], Testbed]


def gateway_before(manager: Manager, testbed: Testbed, plan_ttl: int = 0) -> GatewayProcess:
    """A gateway whose service and model store are the manager, connected and subscribed."""
    variables = settings(testbed.broker.address, manager.url, testbed.fleet, testbed.state, plan_ttl=plan_ttl)
    return testbed.cleanup.enter_context(GatewayProcess(variables | {"AWS_ENDPOINT_URL_S3": manager.url}))
