"""The alert rules and dashboards: each name in them is one of the code, each alert has a test and says what to do."""

import json
from pathlib import Path
from subprocess import run

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.manager.metrics import ManagerMetrics
from gateway.ops.metrics import Metrics as GatewayMetrics
from tests.support import monitoring, needs, pages
from tests.support.monitoring import ALERTS, ALERTS_TEST, DASHBOARDS, SHIPPED

ANNOTATIONS = {"summary", "follows", "action", "page"}


@pytest.mark.parametrize("arguments", ["check config prometheus.yaml", "test rules alerts_test.yaml"])
def test_promtool_finds_no_fault(arguments: str) -> None:
    """The first one reads the rules too."""
    command = [needs.program("promtool"), *arguments.split()]
    done = run(command, capture_output=True, text=True, timeout=60, cwd=SHIPPED)
    assert done.returncode == 0, done.stdout + done.stderr


def names() -> set[str]:
    """All that the code exports, as Prometheus stores it."""
    found: set[str] = set()
    for rendered in (ManagerMetrics().render(), GatewayMetrics().render()):
        for family in text_string_to_metric_families(rendered.decode()):
            if family.type == "histogram":  # a text names it without a suffix
                found |= {f"{family.name}{suffix}" for suffix in ("", "_bucket", "_sum", "_count")}
            else:
                found.add(f"{family.name}_total" if family.type == "counter" else family.name)
    return found


@pytest.mark.parametrize("file", [ALERTS, ALERTS_TEST, *DASHBOARDS], ids=lambda file: file.name)
def test_each_metric_is_one_of_the_code(file: Path) -> None:
    used = set(monitoring.METRIC.findall(file.read_text("utf-8")))
    assert len(used) > 4
    assert used - names() == set()


def test_each_alert_has_a_moment_in_which_it_fires_alone() -> None:
    fired = {
        sample["labels"]
        for test in yaml.safe_load(ALERTS_TEST.read_text("utf-8"))["tests"]
        for moment in test["promql_expr_test"]
        if len(moment["exp_samples"]) == 1
        for sample in moment["exp_samples"]
    }
    rules = monitoring.alert_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert {f'{{alertname="{rule["alert"]}"}}' for rule in rules} == fired


@pytest.mark.parametrize("rule", monitoring.alert_rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_follows_and_what_to_do_and_where_more_is_said(rule: dict[str, dict[str, str]]) -> None:
    said = rule["annotations"]
    assert set(said) == ANNOTATIONS
    assert all(said.values())
    page, _, anchor = said["page"].partition("#")
    assert not anchor or anchor in pages.page(page).anchors()
    assert rule["labels"]["severity"] in ("info", "warning", "critical")


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_a_dashboards_panels_lie_side_by_side(file: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    dashboard = json.loads(file.read_text("utf-8"))
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
