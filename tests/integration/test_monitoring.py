"""A real Prometheus reads a gateway and a manager that work: each query of the dashboards and alerts has its answer."""

from pathlib import Path
from urllib.parse import urlsplit

from tests.integration.testbed import Testbed, gateway_before
from tests.support import monitoring
from tests.support.manager_process import Manager
from tests.support.monitoring import DASHBOARDS, Prometheus
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.polling import until

SENT = '{operation="SendHeartbeat"}'
CALLED = f"group by (job) (edge_gateway_calls_total{SENT} or edge_manager_calls_total{SENT} > 0)"
"""The jobs that have counted a call."""
WITHOUT_DATA = {
    "service.json: Calls to the Edge Manager a second B",  # retried calls
    "service.json: Messages a second B",  # rejected messages
}
"""Queries whose answer is empty where all is well."""


def test_each_query_of_dashboards_and_alerts(own_testbed: Testbed, manager: Manager, tmp_path: Path) -> None:
    """With a broker of its own: what others make a shared one drop would raise an alert."""
    testbed = own_testbed
    file = tmp_path / "kws.tflite"
    file.write_bytes(b"a model")
    manager.run("register", testbed.fleet, "d")
    manager.run("deploy", testbed.fleet, "--all", f"kws={file}")
    gateway = gateway_before(manager, testbed)
    targets = {"edge-gateway": urlsplit(gateway.pages).netloc, "edge-manager": urlsplit(manager.url).netloc}
    device = testbed.device("d")
    device.hello(TAG, LAYOUT, EPOCH)
    device.heartbeat(TAG, 89, [81344], [[4, 2, [12]]], 0, None, 1)
    assert device.ack(1) == (0, "")
    with Prometheus(tmp_path / "prometheus", targets) as prometheus:
        until(lambda: len(prometheus.query(CALLED)) == 2, lambda: str(prometheus.query("up")))
        device.heartbeat(TAG, 149, [81000], None, None, None, 2)  # a rate needs two
        assert device.ack(2) == (0, "")
        asked = {f"{path.name}: {title}": query for path in DASHBOARDS for title, query in monitoring.queries(path)}

        def all_had_data() -> bool:
            """Each at some time: where a scrape is late, Prometheus has no data until the next one."""
            for title in [title for title, query in asked.items() if has_data(prometheus, query)]:
                del asked[title]
            return asked.keys() <= WITHOUT_DATA

        until(all_had_data, lambda: f"no data: {asked.keys() - WITHOUT_DATA}")
        alerts = prometheus.alerts()
        assert set(alerts) == {rule["alert"] for rule in monitoring.alert_rules()}
        until(
            lambda: {rule["health"] for rule in prometheus.alerts().values()} == {"ok"},
            lambda: str({name: rule.get("lastError") for name, rule in prometheus.alerts().items()}),
        )
        firing = prometheus.query('ALERTS{alertstate="firing"}')
        assert firing == [], "all is well"


def has_data(prometheus: Prometheus, query: str) -> bool:
    """A number that is none, as of a share of nothing, is no data."""
    return any(series["value"][1] != "NaN" for series in prometheus.query(query))
