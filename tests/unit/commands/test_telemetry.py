"""When telemetry is on, what a traceparent from outside may be, and what metrics become."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from commands.telemetry import traceparent
from commands.telemetry.environment import is_supported, is_wanted
from commands.telemetry.metrics_export import converted
from commands.telemetry.start import exported, tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GENERAL, OWN = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
METRICS = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, False, False),
        ({GENERAL: " "}, False, False),
        ({GENERAL: "http://c"}, True, False),
        ({OWN: "http://c/v1/traces"}, True, False),
        ({METRICS: "http://c/v1/metrics"}, False, True),
        ({GENERAL: "http://c", "OTEL_METRICS_EXPORTER": "otlp"}, True, True),
        ({GENERAL: "http://c", "OTEL_TRACES_EXPORTER": "none", METRICS: "http://c"}, False, True),
        ({GENERAL: "http://c", "OTEL_SDK_DISABLED": "True", METRICS: "http://c"}, False, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, False, False),
    ],
)
def test_traces_are_on_where_a_collector_is_named_and_metrics_where_they_are_asked_for(
    environ, traces, metrics
):
    assert (is_wanted(environ, "traces"), is_wanted(environ, "metrics")) == (traces, metrics)


def test_only_protobuf_over_http_is_spoken():
    assert is_supported({}, "traces")
    assert not is_supported({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "traces")
    own = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    assert is_supported(own, "traces")


def test_a_traceparent_is_read_and_written():
    found = traceparent.parse(f"00-{TRACE}-{SPAN}-01")
    assert found is not None
    assert traceparent.text_of(*found) == f"00-{TRACE}-{SPAN}-01"
    later = traceparent.parse(f"cc-{TRACE}-{SPAN}-01-what-will-be")
    assert later == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 100}",
        f"00-{TRACE}-{SPAN}-\u0660\u0661",
    ],
)
def test_what_is_malformed_begins_a_trace_of_its_own(text):
    assert traceparent.parse(text) is None


def test_of_two_traceparents_none_counts():
    one = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert traceparent.among([(b"x", b"y"), one]) is not None
    assert traceparent.among([one, one]) is None
    assert traceparent.among([(b"traceparent", b"\xff\xfe")]) is None


def test_metrics_keep_their_names_labels_and_values():
    text = """# HELP awr_events_accepted_total Events
# TYPE awr_events_accepted_total counter
awr_events_accepted_total 7.0
# TYPE awr_ready gauge
awr_ready{pod="a"} 1.0
# TYPE awr_seconds histogram
awr_seconds_bucket{le="0.1",h="x"} 2.0
awr_seconds_bucket{le="+Inf",h="x"} 5.0
awr_seconds_count{h="x"} 5.0
awr_seconds_sum{h="x"} 3.5
"""
    found = {metric.name: metric.data for metric in converted(text, 1)}
    [accepted] = found["awr_events_accepted"].data_points
    assert (accepted.value, found["awr_events_accepted"].is_monotonic) == (7.0, True)
    [ready] = found["awr_ready"].data_points
    assert (ready.value, ready.attributes) == (1.0, {"pod": "a"})
    [seconds] = found["awr_seconds"].data_points
    assert (seconds.count, seconds.sum, list(seconds.bucket_counts)) == (5, 3.5, [2, 3])
    assert (list(seconds.explicit_bounds), seconds.attributes) == ([0.1], {"h": "x"})


OFF = """
import os, sys
for name in list(os.environ):
    if name.startswith("OTEL_"):
        del os.environ[name]
import commands.serve, commands.worker, commands.serve_processes, receiver.serve, workers.process.worker
import workers.process.isolated
from commands.telemetry.start import exported, tracer, tracer_factory
assert tracer() is None and tracer_factory() is None
with exported(lambda: None):
    pass
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "requests", "google")))
"""


def test_nothing_of_opentelemetry_is_imported_while_it_is_off():
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "protocol-not-supported"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1", "setting-refused"),
    ],
)
def test_what_cannot_be_exported_is_said_and_everything_goes_on(monkeypatch, name, value, reason):
    monkeypatch.setenv(GENERAL, "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    with capture_logs() as logs:
        assert tracer() is None
    assert [(line["event"], line["signal"], line["reason"]) for line in logs] == [
        ("telemetry.not_exported", "traces", reason)
    ]


def test_an_interval_that_is_no_time_is_refused_and_metrics_stay_where_they_are(monkeypatch):
    monkeypatch.setenv(METRICS, "http://127.0.0.1:9/v1/metrics")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "0")
    with capture_logs() as logs, exported(lambda: asyncio.sleep(0, b"")):
        pass
    assert [line["reason"] for line in logs] == ["setting-refused"]


NOT_INSTALLED = """
import os, sys
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
sys.modules["opentelemetry"] = None
from receiver.logging import configure
configure("json")
from commands.telemetry.start import tracer
assert tracer() is None
"""


def test_without_the_extra_a_line_says_what_to_install():
    done = subprocess.run([sys.executable, "-c", NOT_INSTALLED], capture_output=True, text=True, check=True)
    assert "telemetry.not_exported" in done.stderr
    assert "ampeco-receiver[otel]" in done.stderr
