"""Starts traces and the export of metrics where OTEL_ variables ask for them. Otherwise nothing is imported."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from commands.telemetry.environment import Fault, Signal, is_supported, is_wanted

if TYPE_CHECKING:
    from commands.telemetry.metrics_export import MetricsExport
    from commands.telemetry.tracer import Tracer


def tracer_factory() -> Callable[[], Tracer | None] | None:
    """Return a factory of a process's tracer; None where traces are off, or cannot be exported, which is logged.

    It imports OpenTelemetry now, so that processes which are forked later share it.
    """
    if not _may_export("traces"):
        return None
    try:
        from commands.telemetry.tracer import Tracer
    except ImportError:
        _report("traces", "not-installed")
        return None

    def make() -> Tracer | None:
        try:
            return Tracer()
        except ValueError:
            _report("traces", "setting-refused")
            return None

    return make


def tracer() -> Tracer | None:
    """Return the tracer of this process; None where traces are off, or cannot be exported, which is logged."""
    make = tracer_factory()
    return None if make is None else make()


@contextlib.contextmanager
def exported(exposition: Callable[[], Awaitable[bytes]]) -> Iterator[None]:
    """Export metrics during a block, in a running loop, where that is asked for.

    Args:
        exposition: returns the metrics as `/metrics` has them.
    """
    export = _metrics_export(exposition) if _may_export("metrics") else None
    try:
        yield
    finally:
        if export is not None:
            export.close()


def _metrics_export(exposition: Callable[[], Awaitable[bytes]]) -> MetricsExport | None:
    try:
        from commands.telemetry.metrics_export import MetricsExport

        return MetricsExport(exposition)
    except ImportError:
        _report("metrics", "not-installed")
    except ValueError:
        _report("metrics", "setting-refused")
    return None


def _may_export(signal: Signal) -> bool:
    if not is_wanted(os.environ, signal):
        return False
    if not is_supported(os.environ, signal):
        _report(signal, "protocol-not-supported")
        return False
    return True


_FIXES: dict[Fault, str] = {
    "not-installed": "pip install 'ampeco-receiver[otel]'",
    "protocol-not-supported": "set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf",
    "setting-refused": "check the OTEL_ variables",
}


def _report(signal: Signal, fault: Fault) -> None:
    from receiver.logging import get_logger

    get_logger(__name__).warning("telemetry.not_exported", signal=signal, reason=fault, fix=_FIXES[fault])
