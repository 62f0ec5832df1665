"""Ten minutes of steady load: is everything that was accepted handled, does memory stay, is p99 low to the end?

`python -m benchmarks.soak [--seconds 600] [--rate 1000] [--json]`: a receiver and a worker with three handlers over a
Redis with TLS that writes each batch to disk (`--fsync always`), all on any core. It takes ten seconds more than
`--seconds`; 60 are enough to try it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import redis

from benchmarks import logs, machine
from benchmarks.bodies import SECRET, body, signed_requests
from benchmarks.load import CONNECTIONS, Load, drive
from benchmarks.memory import Memory, children_of
from benchmarks.others import MOST, Others
from benchmarks.report import Bound, Report, Series
from benchmarks.soak_handlers import NAMES
from benchmarks.used import redis_s
from tests.servers import certificates, tls_server

PREFIX = "soak:"
AT_MOST_MS, AT_MOST_GROWTH = 100.0, 1.05
WARM_UP_S = 5.0
_TIME_LIMIT_S = 60.0


def main() -> None:
    """Measure and print; whether the expectations hold does not change the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--rate", type=float, default=1_000.0, help="events per second (1,000)")
    parser.add_argument(
        "--fsync", choices=("always", "everysec"), default="always", help="Redis's appendfsync (always)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if shutil.which("redis-server") is None:
        sys.exit("needs redis-server: the embedded Valkey has no TLS")
    report = soaked(options.seconds, options.rate, options.fsync)
    print(report.to_json() if options.json else report.to_text())


def soaked(seconds: float, rate: float, fsync: str) -> Report:
    """Send for so many seconds, and compare the quarters."""
    facts = {"at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), **machine.description()}
    requests = signed_requests(0, 1 << 40)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="awr-soak-")))
        url = stack.enter_context(tls_server(folder, certificates(folder), appendfsync=fsync))
        port, pids = stack.enter_context(_processes(url, folder, fsync))
        drive(
            port,
            itertools.islice(requests, int(rate * WARM_UP_S)),
            seconds=WARM_UP_S + 1,
            rate=rate,
            in_turn=True,
        )
        client = stack.enter_context(redis.Redis.from_url(url))
        before, redis_before_s = _all_done(url), redis_s(client)
        others, used_s = Others(), {name: machine.cpu_s(pid) or 0.0 for name, pid in pids.items()}
        with Memory(pids) as memory:
            load = drive(port, requests, seconds=seconds, rate=rate, in_turn=True)
        share, redis_core = others.share(), (redis_s(client) - redis_before_s) / load.seconds
        cores = {
            name: ((machine.cpu_s(pid) or 0.0) - used_s[name]) / load.seconds for name, pid in pids.items()
        }
        after = _all_done(url)
        accepted = asyncio.run(logs.accepted(url, PREFIX))
        redis_mib = asyncio.run(logs.bytes_used(url)) / (1 << 20)
    return _report(
        facts, load, (before, after), accepted, memory, cores, (rate, share, redis_mib, redis_core)
    )


def _report(
    facts: dict[str, object],
    load: Load,
    counts: tuple[Mapping[str, dict[str, int]], Mapping[str, dict[str, int]]],
    accepted: int,
    memory: Memory,
    cores: Mapping[str, float],
    run: tuple[float, float, float, float],
) -> Report:
    before, after = counts
    rate, share, redis_mib, redis_core = run
    door = Series(f"accepted, {rate:,.0f} events/s offered", [load.per_s])
    door.p50_ms, door.p99_ms = [load.quantile_ms(0.5)], [load.quantile_ms(0.99)]
    rows, bounds = [door], []
    for name in NAMES:
        done = after[name]["done"] - before[name]["done"]
        row = Series(f"accepted to handled, {name}", [done / load.seconds])
        row.p50_ms = [logs.latency_ms(before[name], after[name], 0.5)]
        row.p99_ms = [logs.latency_ms(before[name], after[name], 0.99)]
        rows.append(row)
        bounds += [
            Bound(f"accepted and not handled, {name}", [abs(accepted - after[name]["done"])], 0),
            Bound(f"accepted to handled, p99 ms, {name}", row.p99_ms, AT_MOST_MS),
        ]
    notes = []
    for name, core in cores.items():
        second, last = memory.quarter_mib(name, 2), memory.quarter_mib(name, 4)
        bounds.append(Bound(f"memory of {name}, last / second quarter", [last / second], AT_MOST_GROWTH))
        notes.append(
            f"{name}: {second:.1f} MiB in the second quarter, {last:.1f} MiB in the last; {core:.2f} of a core."
        )
    notes.append(
        f"Redis: {redis_core:.2f} of a core. It holds {redis_mib:,.0f} MiB; it keeps events for a day, "
        "so that is not compared."
    )
    notes.append(
        f"Others used {share:.2f} of a core meanwhile{'' if share <= MOST else ': THIS RUN IS VOID'}."
    )
    conditions = {
        "seconds": round(load.seconds),
        "events": accepted,
        "body_bytes": len(body(0)),
        "connections": CONNECTIONS,
    }
    return Report(facts, conditions, rows, bounds, notes)


def _all_done(url: str) -> dict[str, dict[str, int]]:
    """Return what each handler has counted once it has done all that was accepted, or after a minute."""
    found = {}
    for name in NAMES:
        try:
            found[name] = asyncio.run(logs.when_all_done(url, PREFIX, name, _TIME_LIMIT_S))
        except TimeoutError:
            found[name] = {"done": 0, **asyncio.run(logs.counted(url, PREFIX, name))}
    return found


@contextmanager
def _processes(url: str, folder: Path, fsync: str) -> Iterator[tuple[int, dict[str, int]]]:
    """Run a receiver and a worker; yield the public port, and process ids by name."""
    port = machine.free_port()
    environ = {
        **machine.clean_environment(),
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_KEY_PREFIX": PREFIX,
        "AWR_SIGNING_KEYS": SECRET,
        "AWR_DURABILITY": fsync,
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": "0",
        "AWR_HANDLERS_ALLOW": ",".join(NAMES),
        "AWR_PLUGINS_STRICT": "true",
        "AWR_LOG_FORMAT": "json",
        "AWR_LOG_MAX_BYTES": str(4 << 30),
    }
    file = Path(__file__).with_name("soak_handlers.py")
    with (
        _started(folder / "receiver.log", environ, "serve") as receiver,
        _started(folder / "worker.log", environ, "worker", "--load", str(file)) as worker,
    ):
        machine.wait_until_answering(port, receiver, "/health/ready")
        asyncio.run(_declared(url))
        (child,) = children_of(worker.pid)
        yield port, {"the receiver": receiver.pid, "the worker": child, "its parent": worker.pid}


@contextmanager
def _started(log: Path, environ: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        machine.end(process, within_s=60)


async def _declared(url: str) -> None:
    """Wait until the worker has declared its handlers.

    Raises:
        TimeoutError: it did not in time.
    """
    async with asyncio.timeout(_TIME_LIMIT_S), logs.opened(url, PREFIX) as log:
        while not {found.name for found in await log.handlers(measure=False)} >= set(NAMES):
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    main()
