"""A job that does nothing, for RQ's worker, and the moments at which it ran."""

from time import perf_counter

ran_at_s: list[float] = []


def handle(content: bytes) -> None:
    """Nothing to do."""
    ran_at_s.append(perf_counter())
