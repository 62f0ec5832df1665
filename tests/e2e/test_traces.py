"""One trace from a request through the log to each attempt and each call to AMPECO, through real processes."""

from __future__ import annotations

import json
from pathlib import Path

from ampeco.simulator.testing import tenant_in_a_box
from eventlog.connection.embedded import EmbeddedServer
from tests.collector import Collector, collector
from tests.door import door
from tests.harness import soon, worker

SECRET = "Erika Mustermann"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HANDLERS = """
import os
from handlers import Context, Event, Raw, Retry, SyncContext, handler

@handler("recorder", on=["t"], start="oldest", calls=["charge-point.reset"])
async def recorder(event: Event[Raw], ctx: Context) -> None:
    if ctx.attempt == 1:
        raise Retry(os.environ["SAID"], after_s=0)
    await ctx.ampeco.actions.charge_point.reset(str(event.payload.data["chargePoint"]), "soft")

@handler("blocking", on=["t"], start="oldest")
def blocking(event: Event[Raw], ctx: SyncContext) -> None:
    from opentelemetry import trace
    trace.get_current_span().set_attribute("of.plugin", "seen")
    ctx.ampeco.notifications.list()

@handler("alone", on=["t"], start="oldest", isolation="process")
async def alone(event: Event[Raw], ctx: Context) -> None: ...
"""


def test_a_trace_leads_from_the_request_to_each_attempt_and_each_call(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
):
    (tmp_path / "handlers.py").write_text(HANDLERS)
    with collector() as collected, tenant_in_a_box() as box:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=only-for-the-collector",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
            "AWR_TENANT_URL": box.url,
            "SAID": SECRET,
        }
        ours = {**environ, "AWR_API_TOKEN": box.token, "AWR_HANDLERS_ALLOW": "recorder,blocking,alone"}
        log = tmp_path / "worker.log"
        box.seed("charge-points", 7)
        body = json.dumps({"notification": "t", "chargePoint": 7, "holder": SECRET}).encode()
        with (
            worker(valkey.url, prefix, [tmp_path / "handlers.py"], ours, log) as running,
            door(valkey.url, prefix, environ) as front,
        ):
            assert front.post(body, traceparent=f"00-{TRACE}-{SPAN}-01").status == 202
            assert front.post(body, traceparent=f"00-{TRACE}-{SPAN}-01", key="a wrong key").status == 401
            soon(lambda: len(collected.named("handle alone")) == 1)
            soon(lambda: len(collected.named("charge-point.reset")) == 1)
            soon(lambda: len(collected.named("notifications.list")) == 1)
            soon(lambda: "awr_events_accepted" in collected.metrics)
            assert front.stop() == 0
            assert running.stop() == 0
    _is_one_trace(collected)
    said = log.read_text() + json.dumps(front.lines)
    everything = b"".join(collected.bodies)
    assert SECRET.encode() not in everything
    for secret in (box.token, "only-for-the-collector"):
        assert secret.encode() not in everything
        assert secret not in said


def _is_one_trace(collected: Collector) -> None:
    assert {span.trace for span in collected.spans} == {TRACE}
    assert {span.service for span in collected.spans} == {"ampeco-receiver"}
    [request] = collected.named("accept notification")  # what was refused has none
    assert request.parent == SPAN
    assert request.attributes["http.response.status_code"] == 202
    assert request.attributes["awr.outcome"] == "accepted"
    first, second = sorted(
        collected.named("handle recorder"), key=lambda span: span.attributes["awr.attempt"]
    )
    assert (first.parent, second.parent) == (request.id, request.id)
    assert (first.failed, first.attributes["awr.reason"]) == (True, "retry-asked")
    assert (second.failed, second.attributes["awr.outcome"]) == (False, "done")
    assert second.attributes["awr.event_id"] == request.attributes["awr.event_id"]
    [call] = collected.named("charge-point.reset")
    assert call.parent == second.id
    [blocking] = collected.named("handle blocking")
    assert blocking.attributes["of.plugin"] == "seen"
    assert collected.named("notifications.list")[0].parent == blocking.id
    assert collected.named("handle alone")[0].parent == request.id


def test_a_collector_that_is_away_costs_no_event_and_few_lines(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
):
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.1",
    }
    with door(valkey.url, prefix, environ) as front:
        for n in range(50):
            assert front.post(json.dumps({"notification": "t", "n": n}).encode()).status == 202
        assert front.stop() == 0
    assert 1 <= len(front.said("opentelemetry.line")) < 20
