"""The shipped alert rules and dashboards, and a Prometheus that reads a site."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.process import ManagedProcess
from tests.support import needs
from tests.support.arrivals import DEADLINE_S
from tests.support.paths import ROOT

SHIPPED = ROOT / "gateway/ops/monitoring"
ALERTS, ALERTS_TEST, SCRAPE = (SHIPPED / name for name in ("alerts.yaml", "alerts_test.yaml", "prometheus.yaml"))
DASHBOARDS = sorted(SHIPPED.glob("*.json"))
METRIC = re.compile(r"\bedge_(?:manager|gateway)_\w+")
HOST = "127.0.0.1"
VARIABLES = {"$__rate_interval": "1m", "$fleet": ".+"}
"""What Grafana puts into a query."""


def alert_rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]


def queries(dashboard: Path) -> Iterator[tuple[str, str]]:
    """(title of the panel and letter of the query, the query as Grafana sends it)."""
    for panel in json.loads(dashboard.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            yield f"{panel['title']} {target['refId']}", query


class Prometheus:
    """A server that reads `targets` (job -> host:port) each second, with the shipped alert rules. As a context manager
    it is started and killed; nothing of it is kept."""

    def __init__(self, directory: Path, targets: Mapping[str, str]) -> None:
        directory.mkdir(exist_ok=True)
        config = yaml.safe_load(SCRAPE.read_text("utf-8"))
        config["global"] = {"evaluation_interval": "1s"}
        config["rule_files"] = [str(ALERTS)]
        for job in config["scrape_configs"]:
            job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.url = f"http://{HOST}:{free_ports(1, HOST)[0]}"
        command = [
            needs.program("prometheus"),
            f"--config.file={directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={urllib.parse.urlsplit(self.url).netloc}",
        ]
        self._process = ManagedProcess("Prometheus", command, directory / "log")

    def __enter__(self) -> Self:
        self._process.start(self._is_ready)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that it returns now. Raises AssertionError, with what Prometheus says, where it is none."""
        return list(self._get("query", query=expression)["result"])

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Each alert rule with its health, by its name."""
        rules = (rule for group in self._get("rules", type="alert")["groups"] for rule in group["rules"])
        return {rule["name"]: rule for rule in rules}

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                return True
        except OSError:
            return False
