"""Makes what operators' tools read: the table of metrics, the PrometheusRule, and the Grafana dashboard."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from tests.meta.repository import ROOT

ALERTS = ROOT / "deploy" / "observability" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "observability" / "dashboard.json"
RULE = ROOT / "deploy" / "components" / "monitoring" / "rule.yaml"

_NAME = re.compile(r"\b(?:awr|process)[_:][a-z0-9_:]+\b")
_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}


class Family(NamedTuple):
    """One metric: its name as Prometheus has it, what it counts for, and its labels."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    of_log: bool

    @property
    def series(self) -> frozenset[str]:
        """The names of its series, as queries have them."""
        return frozenset(self.name + suffix for suffix in _SUFFIXES.get(self.kind, ("",)))


def families() -> list[Family]:
    """Every metric that a process of ours exposes, sorted by name."""
    from commands.child_metrics import ChildProcesses
    from eventlog.call_budget import BudgetStanding
    from eventlog.outages import Known
    from eventlog.presence import FINE, Process
    from eventlog.registry import HandlerPosition
    from eventlog.silence import Quiet
    from eventlog.usage import Standing
    from receiver.budget_metrics import BudgetMetrics
    from receiver.gap_metrics import GapMetrics
    from receiver.handler_metrics import PairMetrics, PositionMetrics
    from receiver.log_metrics import LogState, SizeMetrics
    from receiver.metrics import Metrics
    from receiver.outage_metrics import OutageMetrics

    position = HandlerPosition("h", "1", ("t",), "default", "entity", 0, 0, 0, 0, stats={"misfit:t": 1})
    standing = Standing(0, 1, None, "", 0, 0, 0, 0)
    state = LogState(
        [position],
        live=[Process("host:1:ab", 0, 1, {}, "default", condition=FINE)],
        newest_ms=1,
        jobs={"default": 0},
        memory={"used_memory": 1},
        persistence={"aof_last_write_status": "ok"},
        stats={"evicted_keys": 0},
    )
    metrics = Metrics()
    children = ChildProcesses(lambda: {"worker-1": os.getpid()})
    own = [_family(found, False, metrics) for found in (*metrics.registry.collect(), *children.collect())]
    of_log = [
        _family(found, True, metrics)
        for source in (
            PositionMetrics([position]),
            SizeMetrics(standing),
            PairMetrics({"h": {"host:1": 1}}),
            GapMetrics([], Quiet(0, False)),
            BudgetMetrics(BudgetStanding(1, 1.0, 1, 1.0, 0.0, 1.0, 0, 0, 0, 1)),
            OutageMetrics(Known(0, {}, ())),
            state,
        )
        for found in source.collect()
    ]
    # A receiver has the size of the log among its own metrics, and it is the same on each pod.
    by_name = {family.name: family for family in (*own, *of_log)}
    return [by_name[name] for name in sorted(by_name)]


def _family(found: Any, of_log: bool, metrics: Any) -> Family:
    labels = getattr(found, "_labelnames", None)
    if labels is None:
        collector = metrics.registry._names_to_collectors.get(found.name)
        labels = getattr(collector, "_labelnames", ())
    name = f"{found.name}_total" if found.type == "counter" else found.name
    return Family(name, found.type, found.documentation, tuple(labels), of_log)


def metrics_table() -> str:
    """Every metric of ours as a table."""
    rows = ["| metric | kind | of | meaning |", "|---|---|---|---|"]
    for family in families():
        if family.name.startswith("process_"):
            continue
        labels = "{" + ",".join(family.labels) + "}" if family.labels else ""
        of = "log" if family.of_log else "process"
        rows.append(f"| `{family.name}{labels}` | {family.kind} | {of} | {family.help} |")
    return "\n".join(rows) + "\n"


def unknown_metrics(expression: str) -> list[str]:
    """Names in a query that no process exposes and no rule records."""
    known = {series for family in families() for series in family.series}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return [name for name in names(expression) if name not in known | recorded]


def names(expression: str) -> list[str]:
    """Return the names of the series and recorded rules in a query."""
    return _NAME.findall(expression)


def rules() -> Iterator[dict[str, Any]]:
    """Every rule: alerts, and what is recorded for other queries."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def prometheus_rule() -> str:
    """The alerts as the Prometheus operator reads them."""
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "ampeco-receiver", "labels": {"app.kubernetes.io/name": "ampeco-receiver"}},
        "spec": yaml.safe_load(ALERTS.read_text()),
    }
    head = "# Made from ../../observability/alerts.yaml by `make generate`.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=118)


_HANDLER = 'max by (handler) ({}{{namespace="$namespace"}})'
_P99 = "histogram_quantile(0.99, {})"
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Accepted, refused, duplicates per second",
        "reqps",
        (
            ('sum(rate(awr_events_accepted_total{namespace="$namespace"}[5m]))', "accepted"),
            (
                'sum by (reason) (rate(awr_events_refused_total{namespace="$namespace"}[5m]))',
                "refused: {{reason}}",
            ),
            ('sum(rate(awr_events_duplicate_total{namespace="$namespace"}[5m]))', "duplicates"),
        ),
    ),
    (
        "Events waiting, by handler",
        "short",
        ((_HANDLER.format("awr_handler_waiting"), "{{handler}}"),),
    ),
    (
        "Events that wait for another attempt, or behind one that does",
        "short",
        (
            (_HANDLER.format("awr_handler_retrying"), "{{handler}}: retried"),
            (_HANDLER.format("awr_handler_parked"), "{{handler}}: parked"),
        ),
    ),
    (
        "Age of the oldest unsettled event",
        "s",
        ((_HANDLER.format("awr_handler_oldest_event_age_seconds"), "{{handler}}"),),
    ),
    (
        "Deliveries per second, by outcome",
        "ops",
        (('sum by (outcome) (awr:handler_deliveries:rate5m{namespace="$namespace"})', "{{outcome}}"),),
    ),
    (
        "From acceptance to the end of a delivery, p99",
        "s",
        (
            (
                _P99.format(
                    'max by (handler, le) (rate(awr_handler_settled_seconds_bucket{namespace="$namespace"}[5m]))'
                ),
                "{{handler}}",
            ),
        ),
    ),
    (
        "An attempt of a handler, p99",
        "s",
        (
            (
                _P99.format(
                    'max by (handler, le) (rate(awr_handler_run_seconds_bucket{namespace="$namespace"}[5m]))'
                ),
                "{{handler}}",
            ),
        ),
    ),
    (
        "Failed attempts per second, by reason",
        "ops",
        (
            (
                'max by (handler, reason) (rate(awr_attempts_failed_total{namespace="$namespace"}[5m]))',
                "{{handler}}: {{reason}}",
            ),
        ),
    ),
    (
        "Calls to AMPECO per second, by status",
        "ops",
        (
            (
                'max by (operation, status) (rate(awr_api_call_seconds_count{namespace="$namespace"}[5m]))',
                "{{operation}}: {{status}}",
            ),
        ),
    ),
    (
        "A call to AMPECO, p99",
        "s",
        (
            (
                _P99.format(
                    "max by (operation, status, le) "
                    '(rate(awr_api_call_seconds_bucket{namespace="$namespace"}[5m]))'
                ),
                "{{operation}}: {{status}}",
            ),
        ),
    ),
    (
        "Delay of event loops",
        "s",
        (
            ('max by (process) (awr_worker_loop_lag_seconds{namespace="$namespace"})', "{{process}}"),
            ('awr_loop_lag_seconds{namespace="$namespace"}', "{{pod}}"),
        ),
    ),
    ("Dead letters", "short", ((_HANDLER.format("awr_handler_dead"), "{{handler}}"),)),
    (
        "Append to Redis, p99",
        "s",
        (
            (
                _P99.format('sum by (le) (rate(awr_append_seconds_bucket{namespace="$namespace"}[5m]))'),
                "p99",
            ),
        ),
    ),
    (
        "Workers alive",
        "short",
        (('max by (queue) (awr_workers_live{namespace="$namespace"})', "{{queue}}"),),
    ),
    (
        "Redis memory and the log in it",
        "bytes",
        (
            ('max(awr_redis_memory_used_bytes{namespace="$namespace"})', "used"),
            ('max(awr_redis_memory_max_bytes{namespace="$namespace"})', "maxmemory"),
            ('max(awr_log_bytes{namespace="$namespace"})', "log"),
        ),
    ),
    (
        "Memory by pod",
        "bytes",
        (
            ('process_resident_memory_bytes{namespace="$namespace"}', "{{pod}}"),
            ('awr_child_resident_memory_bytes{namespace="$namespace"}', "{{pod}}: {{child}}"),
        ),
    ),
)
"""Title, unit, and queries with their legends."""


def dashboard() -> str:
    """A Grafana dashboard of these panels, two in a row."""
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": title,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + at), "expr": query, "legendFormat": legend}
                for at, (query, legend) in enumerate(queries)
            ],
        }
        for number, (title, unit, queries) in enumerate(PANELS)
    ]
    document = {
        "title": "ampeco-receiver",
        "uid": "ampeco-receiver",
        "schemaVersion": 39,
        "tags": ["ampeco-receiver"],
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "namespace",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "query": "label_values(awr_ready, namespace)",
                },
            ]
        },
        "panels": panels,
    }
    return json.dumps(document, indent=2) + "\n"
