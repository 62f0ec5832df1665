"""Alerts and dashboard: they ask for metrics that exist, fire when they have to, and lead to the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.meta import generated, observability
from tests.meta.documents import anchors
from tests.meta.repository import ROOT

FOLDER = ROOT / "deploy" / "observability"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool (Debian's package prometheus)"
)


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in observability.rules() if "alert" in rule]


def queries() -> list[str]:
    """Of the dashboard, of alerts, and of what is recorded."""
    dashboard = json.loads(observability.DASHBOARD.read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*shown, *(rule["expr"] for rule in observability.rules())]


@pytest.mark.parametrize("path", generated.FILES, ids=lambda path: path.name)
def test_files_are_what_the_code_makes(path: Path):
    assert path.read_text() == generated.FILES[path](), "run `make generate`"


def test_every_query_asks_for_metrics_that_exist():
    for query in queries():
        assert observability.names(query), query
        assert observability.unknown_metrics(query) == [], query


@pytest.mark.parametrize(
    "name", ["awr_no_such_total", "awr_handler_waiting_total", "awr_ready_bucket", "awr_append_seconds"]
)
def test_a_series_that_no_process_exposes_is_found(name: str):
    assert observability.unknown_metrics(f"rate({name}[5m])") == [name]


def test_metrics_of_the_log_are_never_added_up_over_pods():
    of_log = {name for family in observability.families() if family.of_log for name in family.series}
    assert {
        "awr_handler_waiting",
        "awr_handler_settled_seconds_bucket",
        "awr_log_bytes",
        "awr_log_full",
    } <= of_log
    checked = set()
    for query in queries():
        for name in of_log.intersection(observability.names(query)):
            assert re.search(rf"\b(?:max|min)(?: by \([^)]*\))? ?\((?:rate\(|increase\()?{name}\b", query), (
                query
            )
            checked.add(name)
    assert {"awr_deliveries_total", "awr_handler_settled_seconds_bucket"} <= checked


def test_each_alert_has_a_section_in_the_runbook_and_a_test():
    runbook = (ROOT / "deploy" / "RUNBOOK.md").read_text()
    tested = (FOLDER / "alerts_test.yaml").read_text()
    for alert in alerts():
        page, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert page == "deploy/RUNBOOK.md"
        assert anchor in anchors(runbook)
        assert f"`{alert['alert']}`" in runbook
        fires = re.search(rf"alertname: {alert['alert']}\n\s+exp_alerts:\n", tested)
        clears = re.search(rf"alertname: {alert['alert']}\n\s+exp_alerts: \[\]", tested)
        assert fires, f"{alert['alert']}: no test in which it fires"
        assert clears, f"{alert['alert']}: no test in which it clears"


@needs_promtool
def test_promtool_accepts_the_rules_and_their_tests_pass():
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_an_alert_that_does_not_fire_is_found(tmp_path: Path):
    for name in ("alerts.yaml", "alerts_test.yaml"):
        shutil.copy(FOLDER / name, tmp_path)
    rules = tmp_path / "alerts.yaml"
    rules.write_text(rules.read_text().replace("(awr_redis_up) == 0", "(awr_redis_up) == 2"))
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yaml"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode != 0
