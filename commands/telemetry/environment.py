"""Reads the OTEL_ variables without importing OpenTelemetry.

OpenTelemetry reads the other variables itself: sampling, limits, resource attributes, headers, certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Signal = Literal["traces", "metrics"]
Fault = Literal["not-installed", "protocol-not-supported", "setting-refused"]
"""Why a signal is not exported although a collector is named."""

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_SUPPORTED = "http/protobuf"


def is_wanted(environ: Mapping[str, str], signal: Signal) -> bool:
    """Return whether a signal is to be exported.

    Traces are, where a collector is named. Metrics must be asked for, since `/metrics` has them already.
    """
    if _value(environ, "OTEL_SDK_DISABLED").lower() == "true":
        return False
    exporters = [name.strip() for name in _value(environ, f"OTEL_{signal.upper()}_EXPORTER").split(",")]
    own_endpoint = bool(_value(environ, f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"))
    if exporters != [""]:
        return "otlp" in exporters and (own_endpoint or bool(_value(environ, _ENDPOINT)))
    return own_endpoint or (signal == "traces" and bool(_value(environ, _ENDPOINT)))


def is_supported(environ: Mapping[str, str], signal: Signal) -> bool:
    """Return whether the protocol is one that we speak: OTLP over HTTP, in protobuf."""
    own = _value(environ, f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
    return (own or _value(environ, _PROTOCOL) or _SUPPORTED) == _SUPPORTED


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()
