"""The other end for tests of the simulator: a receiver on a real port that verifies, and refuses on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ampeco.signature import SIGNATURE_HEADER, SigningKey, verify

TOKEN = "simulator-token"
READ_ONLY = "read-only-token"
TYPES = (
    "BootNotification",
    "HardwareStatusNotification",
    "SessionMeterValuesNotification",
    "SessionStartStopNotification",
    "SessionUpdateNotification",
)


class Receiver:
    """What arrives is in `bodies` (accepted) and `refused`."""

    def __init__(self, *keys: str) -> None:
        self.keys = [SigningKey.of(key) for key in keys or (TOKEN,)]
        self.status = 200
        self.delay_s = 0.0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.bodies: list[bytes] = []
        self.refused: list[bytes] = []
        self.key_ids: list[str] = []
        self.url = ""
        self.most_at_once = 0
        self._at_once = 0

    async def receive(self, request: Request) -> Response:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            body = await request.body()
            self.key_ids.append(verify(body, request.headers.get(SIGNATURE_HEADER), self.keys).key_id)
            await asyncio.sleep(self.delay_s)
            await self.may_answer.wait()
            (self.bodies if self.status == 200 else self.refused).append(body)
            return Response("thanks", self.status)
        finally:
            self._at_once -= 1


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(receiver: Receiver, port: int = 0) -> AsyncIterator[Receiver]:
    """The receiver, reachable under `receiver.url` as long as the block lasts."""
    app = Starlette(routes=[Route("/hook", receiver.receive, methods=["POST"])])
    server = _Quiet(uvicorn.Config(app, port=port, log_config=None, ws="none", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.should_exit = True
        await task


async def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> None:
    """Wait for a condition, not for luck."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def api(url: str, token: str = TOKEN, **options: Any) -> httpx2.AsyncClient:
    """A client of the tenant's API."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False, **options)


async def subscribe(client: httpx2.AsyncClient, url: str, *types: str) -> int:
    """Subscribe a webhook; the id of the notification subscription."""
    wanted = {"via": "webhook", "notifications": types or TYPES, "webhook": {"callbackUrl": url}}
    answer = await client.post("/public-api/notifications/v2.0", json=wanted)
    assert answer.status_code == 201, answer.text
    id_: int = answer.json()["data"]["id"]
    return id_


async def state(client: httpx2.AsyncClient) -> dict[str, Any]:
    """The counts of the simulator."""
    found: dict[str, Any] = (await client.get("/simulator/state")).json()
    return found
