"""Makes spans with OpenTelemetry: of requests at the endpoint, of attempts, and of their calls to AMPECO.

It is what `receiver/tracing.py` and `workers/tracing.py` ask for. Spans hold ids of events, names and slugs.
They hold no body, no entity key, no path, and no text of an error.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType

from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from ampeco.operations import Operation
from commands.telemetry import traceparent
from commands.telemetry.traceparent import HEADER, Parent
from eventlog.record import StoredEvent
from receiver.endpoint import Headers
from workers.delivery.call_counts import OTHER

SERVICE = "ampeco-receiver"
_CLOSE_S = 1.0
_FAILED = ("retry", "dead")


def resource() -> Resource:
    """Return what all spans and metrics of this process have in common. OTEL_ variables win."""
    try:
        release = version(SERVICE)
    except PackageNotFoundError:
        release = ""
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return Resource.create(
        {
            "service.version": release,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            **({} if named else {"service.name": SERVICE}),
        }
    )


class Tracer:
    """The spans of one process, sent in batches from a thread. After a fork, a child needs one of its own.

    Attributes:
        headers: of a request, that it reads.
    """

    headers = frozenset((HEADER,))

    def __init__(self) -> None:
        """Read the OTEL_ variables.

        Raises:
            ValueError: one of them is refused.
        """
        self._provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(SERVICE)

    def request(self, headers: Headers) -> RequestSpan:
        """Follow a verified request; see `receiver.tracing`."""
        parent = traceparent.among(headers)
        return RequestSpan(
            self._tracer.start_span(
                "accept notification",
                _remote(parent),
                kind=SpanKind.SERVER,
                attributes={"http.request.method": "POST"},
            )
        )

    def attempt(self, handler: str, number: int, event: StoredEvent) -> AttemptSpan:
        """Follow an attempt; see `workers.tracing`."""
        parent = traceparent.parse(event.traceparent)
        span = self._tracer.start_span(
            f"handle {handler}",
            _remote(parent),
            kind=SpanKind.CONSUMER,
            attributes={
                "awr.event_id": event.event_id,
                "awr.notification": event.type,
                "awr.handler": handler,
                "awr.attempt": number,
            },
        )
        return AttemptSpan(self, span)

    def call(self, context: Context, operation: Operation, label: str) -> CallSpan:
        """Follow a call to AMPECO.

        Args:
            context: of the attempt.
        """
        name = operation.method if label == OTHER else label
        attributes = {"http.request.method": operation.method, "awr.operation": label}
        return CallSpan(self._tracer.start_span(name, context, kind=SpanKind.CLIENT, attributes=attributes))

    def close(self) -> None:
        """Send what is left, for a second at most. A collector that hangs must not keep the process."""
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)


class RequestSpan:
    """The span of one request.

    Attributes:
        traceparent: to be stored with the event.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = _text(span)

    def ended(self, status: int, outcome: str, event_id: str | None, reason: str | None) -> None:
        """End it with the answer."""
        span = self._span
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("awr.outcome", outcome)
        if event_id is not None:
            span.set_attribute("awr.event_id", event_id)
        if reason is not None:
            span.set_attribute("awr.reason", reason)
        if outcome == "refused":
            span.set_status(Status(StatusCode.ERROR))
        span.end()


class AttemptSpan:
    """The span of one attempt, and the current one for what its handler calls."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)

    def __enter__(self) -> AttemptSpan:
        self._token = attach(self._context)
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        detach(self._token)
        if error is not None:  # its outcome counts for nothing: the lease was lost, or the process stops
            self._span.set_attribute("awr.outcome", "abandoned")
        self._span.end()

    def call(self, operation: Operation, label: str) -> CallSpan:
        """Follow a call to AMPECO that belongs to it."""
        return self._tracer.call(self._context, operation, label)

    def ended(self, kind: str, reason: str) -> None:
        """Note the outcome."""
        self._span.set_attribute("awr.outcome", kind)
        if reason:
            self._span.set_attribute("awr.reason", reason)
        if kind in _FAILED:
            self._span.set_status(Status(StatusCode.ERROR))


class CallSpan:
    """The span of one call.

    Attributes:
        headers: make AMPECO's side part of the trace.
    """

    headers: Mapping[str, str]

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers = {"traceparent": _text(span)}

    def ended(self, outcome: str, status: int | None) -> None:
        """End it."""
        self._span.set_attribute("awr.outcome", outcome)
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if outcome != "ok":
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def _remote(parent: Parent | None) -> Context:
    """Return the context that continues a parent. Without one it is empty, also where a span is current."""
    if parent is None:
        return Context()
    context = SpanContext(parent.trace_id, parent.span_id, True, TraceFlags(parent.flags))
    return set_span_in_context(NonRecordingSpan(context), Context())


def _text(span: Span) -> str:
    context = span.get_span_context()
    return traceparent.text_of(context.trace_id, context.span_id, context.trace_flags)
