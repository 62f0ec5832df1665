"""Traces and metrics for a collector, by OTLP. Only this package imports OpenTelemetry, and only where it is used."""
