"""`python -m benchmarks`: all measurements in one run, in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from statistics import median
from typing import Any

from benchmarks import latency, machine
from benchmarks.bodies import SESSIONS, body
from benchmarks.door import GENTLE_PER_S, Doors
from benchmarks.drains import Drains
from benchmarks.load import CONNECTIONS
from benchmarks.parts import PARTS
from benchmarks.report import Bound, Ratio, Report, Series
from benchmarks.valkey import server


def main() -> None:
    """Measure and print; whether the expectations hold does not change the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--part", choices=PARTS, help="measure this instead (see parts.py)")
    parser.add_argument("--seconds", type=float, default=1.0, help="per measurement of a server (1)")
    parser.add_argument("--rounds", type=int, default=5, help="each measurement is repeated so often (5)")
    parser.add_argument("--events", type=int, help="events to drain (60,000; --part flat 1,000,000)")
    parser.add_argument("--jobs", type=int, default=300, help="RQ jobs to work off per round (300)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.part:
        report = _part(options.part, options.rounds, options.events)
    else:
        report = _measure(options.seconds, options.rounds, options.events or 60_000, options.jobs)
    print(report.to_json() if options.json else report.to_text())


def _machine() -> dict[str, Any]:
    return {"at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), **machine.description()}


def _cores() -> str:
    pinned = machine.share_cores()
    return "one for what is measured, the others for Valkey and load" if pinned else "shared by all"


def _part(name: str, rounds: int, events: int | None) -> Report:
    facts, cores = _machine(), _cores()
    measure, many = PARTS[name]
    many = events or many
    with server() as url:
        series, verdicts, notes = measure(url, rounds, many)
    conditions = {"rounds": rounds, "events": many, "body_bytes": len(body(0)), "cores": cores}
    return Report(facts, conditions, series, verdicts, [*notes, *_doubts(facts, [], None)])


def _measure(seconds: float, rounds: int, events: int, jobs: int) -> Report:
    facts, cores = _machine(), _cores()
    body_only = Series("Starlette, only reads the body")
    ours = Series("ours, appendfsync everysec")
    always = Series("ours, appendfsync always")
    in_chunks = Series("ours, everysec, chunked (past the fast path)")
    gentle = Series(f"ours, everysec, {GENTLE_PER_S:,.0f} events/s offered")
    enqueue = Series("Starlette + RQ enqueue, in the event loop")
    threads = Series("Starlette + RQ enqueue, in the thread pool")
    fastify = Series("Fastify + BullMQ, with signature")
    pipelined = Series("Fastify + BullMQ, with signature and pipelining")
    ceiling = Series("load generator against a server of one line")
    drained = Series("our worker, handler that does nothing")
    worked_off = Series("RQ SimpleWorker, job that does nothing")
    forked = Series("RQ Worker (forks), job that does nothing")
    bullmq = Series("BullMQ worker (100 at a time), the same")
    handled = Series(f"accepted to handled, {latency.RATE_PER_S:,.0f} events/s offered")
    with server() as url:
        drains = Drains(url, events, jobs)
        with Doors(url, seconds) as doors:
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
                body_only.add(doors.peer("body"))
                ours.add(doors.ours())
                if not doors.no_node:
                    fastify.add(doors.peer("bullmq"))
                    pipelined.add(doors.peer("bullmq-pipelined"))
                enqueue.add(doors.peer("enqueue"))
                threads.add(doors.peer("threads"))
                always.add(doors.ours(fsync="always"))
                in_chunks.add(doors.ours(in_chunks=True))
                gentle.add(doors.ours(rate=GENTLE_PER_S))
                drained.per_s.append(drains.ours())
                if not doors.no_node:
                    bullmq.per_s.append(drains.bullmq())
                worked_off.per_s.append(drains.rq())
                forked.per_s.append(drains.rq_forking())
            ceiling.add(doors.peer("ceiling"))
        p50_ms, p99_ms = latency.measure(url, 4 * seconds)
    handled.per_s.append(latency.RATE_PER_S)
    handled.p50_ms.append(p50_ms)
    handled.p99_ms.append(p99_ms)
    faster = max(enqueue, threads, key=_median)
    ratios: list[Ratio | Bound] = [
        Ratio("ours / only reads the body", ours.per_s, body_only.per_s, 0.5),
        Ratio("ours / RQ enqueue per event", ours.per_s, faster.per_s, 4),
        Ratio("our worker / RQ job per event, in process", drained.per_s, worked_off.per_s, 100),
        Ratio("our worker / RQ job per event, forking", drained.per_s, forked.per_s, 100),
        Bound("accepted to handled, p99 ms", handled.p99_ms, 50),
    ]
    notes = [f"Of the two ways to enqueue the faster one counts: {faster.title.rpartition(', ')[2]}."]
    if doors.no_node:
        notes.append(f"Without Fastify and BullMQ: {doors.no_node}.")
    else:
        ratios += [
            Ratio("ours / Fastify + BullMQ", ours.per_s, fastify.per_s, 1.2),
            Ratio("ours / Fastify + BullMQ, pipelining", ours.per_s, pipelined.per_s, 1.2),
            Ratio("our worker / BullMQ worker", drained.per_s, bullmq.per_s, 1.2),
        ]
    if all(series.busy for series in (ours, body_only)):
        ratios.append(
            Ratio("per CPU second: / only reads the body", ours.per_cpu_s, body_only.per_cpu_s, 0.5)
        )
        if fastify.busy:
            ratios += [
                Ratio("per CPU second: / Fastify + BullMQ", ours.per_cpu_s, fastify.per_cpu_s, 1.2),
                Ratio("per CPU second: / the same, pipelining", ours.per_cpu_s, pipelined.per_cpu_s, 1.2),
            ]
    series = [body_only, ours, always, in_chunks, gentle, enqueue, threads, fastify, pipelined, ceiling]
    series += [drained, worked_off, forked, bullmq, handled]
    return Report(
        machine=facts,
        conditions={
            "rounds": rounds,
            "seconds": seconds,
            "connections": CONNECTIONS,
            "body_bytes": len(body(0)),
            "drained_events": events,
            "sessions": SESSIONS,
            "rq_jobs": jobs,
            "cores": cores,
        },
        series=[one for one in series if one.per_s],
        ratios=ratios,
        notes=[*notes, *_doubts(facts, [body_only, ours, faster], ceiling)],
    )


def _median(series: Series) -> float:
    return median(series.per_s)


def _doubts(facts: dict[str, Any], servers: list[Series], ceiling: Series | None) -> list[str]:
    """Return the reasons to doubt the figures."""
    found = [
        f"{series.title}: its core was not busy, so something else held it up."
        for series in servers
        if series.busy and median(series.busy) < 0.9
    ]
    if ceiling and median(ceiling.per_s) < 1.5 * max(median(series.per_s) for series in servers):
        found.append("The load generator is hardly faster than what it measures: it may be the bottleneck.")
    if facts["load_average"] > 0.5:
        found.append("Others were at work on this machine when the run began.")
    return found


if __name__ == "__main__":
    main()
