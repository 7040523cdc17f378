"""deploy/prometheus and deploy/grafana: what promtool says of them, and that generated files are current."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.pages import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules.yml"
UNIT_TESTS = Path(__file__).with_name("alerts.test.yml")
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule]

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")


def promtool(*arguments: str | Path) -> None:
    """Runs promtool, which must find nothing wrong."""
    done = subprocess.run(["promtool", *arguments], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.secure.yml"])
def test_the_configuration_of_prometheus_is_valid_with_its_rules(name: str) -> None:
    promtool("check", "config", "--syntax-only", PROMETHEUS / name)  # the secrets are elsewhere


@needs_promtool
def test_the_rules_are_valid_and_have_no_duplicates() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@needs_promtool
def test_each_alert_fires_at_its_number_and_after_its_time(tmp_path: Path) -> None:
    path = tmp_path / "test.yml"
    path.write_text(f"rule_files: [{RULES}]\n{UNIT_TESTS.read_text()}")
    promtool("test", "rules", path)


def test_each_alert_has_a_unit_test_and_a_section_of_the_page_that_its_runbook_names() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"docs/monitoring.md#{alert['alert'].lower()}"
    tested = {
        case["alertname"]
        for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case.get("exp_alerts")
    }
    assert tested == set(headings)


def test_the_dashboard_is_that_of_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "deploy" / "grafana")
    dashboard = importlib.import_module("dashboard")
    assert dashboard.WRITTEN.read_text() == dashboard.built(), "run: python deploy/grafana/dashboard.py"


def test_the_rules_of_kubernetes_are_those_of_prometheus() -> None:
    path = ROOT / "deploy" / "kubernetes" / "rules.py"
    written = runpy.run_path(str(path))
    assert written["WRITTEN"].read_text() == written["manifest"](), "run: python deploy/kubernetes/rules.py"


def test_no_panel_overlaps_another_and_every_line_of_panels_is_filled() -> None:
    panels = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "nextchar.json").read_text())["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place.get("x", 0), place.get("x", 0) + place["w"])
        for y in range(place.get("y", 0), place.get("y", 0) + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len(cells) == 24 * (1 + max(y for _, y in cells))
