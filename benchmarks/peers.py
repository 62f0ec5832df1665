"""The servers and workers to compare with. Each runs in its own process: `python -m benchmarks.peers`.

They are written as their own documentation shows them, with what makes them faster switched on and nothing
that ours does in addition: no signature, no parsing, no duplicates.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter
from typing import Any

import redis
import rq
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from benchmarks import noop_job
from benchmarks.bodies import PATH, body

QUEUE = "benchmark"


def reads_the_body() -> ASGIApp:
    """A Starlette endpoint that reads the body and answers."""

    async def endpoint(request: Request) -> Response:
        await request.body()
        return Response()

    return Starlette(routes=[Route(PATH, endpoint, methods=["POST"])])


def enqueues(redis_url: str, *, in_threads: bool) -> ASGIApp:
    """One RQ job per event, from the event loop itself or from Starlette's thread pool."""
    queue = rq.Queue(QUEUE, connection=redis.Redis.from_url(redis_url))

    async def endpoint(request: Request) -> Response:
        content = await request.body()
        if in_threads:
            await run_in_threadpool(queue.enqueue, noop_job.handle, content)
        else:
            queue.enqueue(noop_job.handle, content)
        return Response()

    return Starlette(routes=[Route(PATH, endpoint, methods=["POST"])])


def serve(app: ASGIApp, port: int) -> None:
    """Serve with the same server and the same options as the receiver."""
    config = uvicorn.Config(
        app, port=port, http="httptools", ws="none", lifespan="off", access_log=False, log_level="warning",
        server_header=False, proxy_headers=False, backlog=2048,
    )  # fmt: skip
    uvloop.run(uvicorn.Server(config).serve())


def answer_anything(port: int) -> None:
    """The least a server can do: shows how fast the load generator is."""

    class Answers(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.write = transport.write  # type: ignore[attr-defined]

        def data_received(self, data: bytes) -> None:
            self.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(run())


def work_off(redis_url: str, jobs: int, *, forking: bool) -> None:
    """One RQ worker works off one job per event; prints how many of them ended in a second.

    Counted from the first job to the last, so that the start of the worker is left out.
    """
    ended_at_s: list[float] = []

    class Watched(rq.Worker if forking else rq.SimpleWorker):  # type: ignore[misc]
        def execute_job(self, *arguments: Any) -> Any:
            result = super().execute_job(*arguments)
            ended_at_s.append(perf_counter())
            return result

    connection = redis.Redis.from_url(redis_url)
    queue = rq.Queue(QUEUE, connection=connection)
    queue.enqueue_many([rq.Queue.prepare_data(noop_job.handle, (body(number),)) for number in range(jobs)])
    Watched([queue], connection=connection).work(burst=True, logging_level="ERROR")
    ran = len(ended_at_s)
    print(json.dumps({"ran": ran, "per_s": (ran - 1) / (ended_at_s[-1] - ended_at_s[0])}))


def main() -> None:
    """Run one of them."""
    match sys.argv[1:]:
        case ["ceiling", port]:
            answer_anything(int(port))
        case ["body", port]:
            serve(reads_the_body(), int(port))
        case ["enqueue", port, redis_url]:
            serve(enqueues(redis_url, in_threads=False), int(port))
        case ["enqueue-in-threads", port, redis_url]:
            serve(enqueues(redis_url, in_threads=True), int(port))
        case ["work", jobs, redis_url]:
            work_off(redis_url, int(jobs), forking=False)
        case ["work-forking", jobs, redis_url]:
            work_off(redis_url, int(jobs), forking=True)
        case _:
            raise SystemExit(f"unknown peer: {' '.join(sys.argv[1:])}")


if __name__ == "__main__":
    main()
