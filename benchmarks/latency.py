"""From the endpoint to the end of the handler: receiver and worker together on the measured core."""

from __future__ import annotations

import asyncio

from benchmarks import logs, machine, workers
from benchmarks.bodies import SECRET, signed_requests
from benchmarks.load import drive

RATE_PER_S = 500.0

_PREFIX = "latency:"
_NAME = "noop-latency"
_WARM_UP_S = 1.5
_TIME_LIMIT_S = 20.0


def measure(redis_url: str, seconds: float) -> tuple[float, float]:
    """Half of the events, and 99 of 100, are handled within so many milliseconds after they were accepted."""
    url, port = f"{redis_url}?db=4", machine.free_port()
    environ = {
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_KEY_PREFIX": _PREFIX,
        "AWR_SIGNING_KEYS": SECRET,
        "AWR_DURABILITY": "everysec",
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": "0",
        "AWR_LOG_LEVEL": "warning",
    }
    with (
        machine.measured(["commands", "serve"], environ) as door,
        workers.at_work(url, _PREFIX, {workers.NOOP: _NAME}),
    ):
        machine.wait_until_answering(port, door, "/health/ready")
        warm_up = list(signed_requests(0, int(RATE_PER_S * (_WARM_UP_S + 1))))
        requests = list(signed_requests(len(warm_up), int(RATE_PER_S * (seconds + 1))))
        drive(port, iter(warm_up), seconds=_WARM_UP_S, rate=RATE_PER_S)
        before = asyncio.run(logs.when_all_done(url, _PREFIX, _NAME, _TIME_LIMIT_S))
        drive(port, iter(requests), seconds=seconds, rate=RATE_PER_S)
        after = asyncio.run(logs.when_all_done(url, _PREFIX, _NAME, _TIME_LIMIT_S))
    return logs.latency_ms(before, after, 0.5), logs.latency_ms(before, after, 0.99)
