"""A simulated tenant that announces without a pause, a receiver process that takes it, and what arrived."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ampeco.simulator.server import serving
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant
from commands.demo_stack import free_port
from eventlog.duplicates import MARK
from eventlog.inspection.events import stored_event
from eventlog.log import EventLog
from eventlog.registry import Declaration
from tests.door import Door, door
from tests.harness import eventually, opened

DATED, UNDATED = "BootNotification", "cdr.received"


class Traffic:
    """Announces a dated and an undated notification in turn, each body once.

    Attributes:
        sent: bodies that at least one notification subscription wanted.
        unsent: bodies that none wanted at that moment: AMPECO never sends those.
    """

    def __init__(self, tenant: Tenant, per_s: float = 100.0) -> None:
        self.sent: list[bytes] = []
        self.unsent: list[bytes] = []
        self._tenant = tenant
        self._per_s = per_s
        self._number = 0

    def announce(self) -> None:
        self._number += 1
        if self._number % 2:
            name, about = DATED, {"chargePointId": self._number % 40, "timestamp": _moment()}
            body = {"notification": name, **about, "bootNotification": {"model": str(self._number)}}
        else:
            name, body = UNDATED, {"notification": UNDATED, "cdrId": self._number}
        raw = json.dumps(body).encode()
        made = self._tenant.announce(name, None, raw, as_it_is=True)
        (self.sent if made else self.unsent).append(raw)

    def dropped(self) -> set[bytes]:
        """Bodies that AMPECO dropped together with a subscription, and sent by no other."""
        book = list(self._tenant.deliveries)
        return {one.body for one in book if one.state == "dropped"}.difference(
            one.body for one in book if one.state != "dropped"
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Announce inside the block; at its end everything was delivered or given up."""

        async def go() -> None:
            loop = asyncio.get_running_loop()
            started, count = loop.time(), 0
            while True:
                while count < (loop.time() - started) * self._per_s:
                    self.announce()
                    count += 1
                await asyncio.sleep(0.005)

        going = asyncio.create_task(go())
        try:
            yield
        finally:
            going.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await going

        async def quiet() -> bool:
            return self._tenant.pending == 0

        await eventually(quiet)


def _moment() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


async def arrived(log: EventLog) -> tuple[Counter[bytes], set[bytes]]:
    """How often each body is an event, and the bodies of events that are marked as possible repetitions."""
    found: Counter[bytes] = Counter()
    marked: set[bytes] = set()
    for lane in range(log.lanes):
        for raw_id, fields in await log.redis.xrange(log.key("events", lane)):
            event = stored_event(lane, raw_id, fields)
            if event.type.startswith("receiver."):
                continue
            found[event.body] += 1
            if MARK in event.marks:
                marked.add(event.body)
    return found, marked


class Deployment:
    """A tenant and a receiver on real ports. Secrets are files, which the receiver reads again when they change."""

    def __init__(
        self, tenant: Tenant, tenant_url: str, front: Door, environ: Mapping[str, str], secrets: Path
    ):
        self.tenant = tenant
        self.tenant_url = tenant_url
        self.front = front
        self.environ = environ
        self.secrets = secrets

    def secret(self, name: str, value: str | None) -> None:
        """Change a secret file, or remove it."""
        path = self.secrets / name
        if value is None:
            path.unlink()
            return
        fresh = self.secrets / f".{name}"
        fresh.write_text(value)
        fresh.rename(path)

    async def ours(self) -> list[str]:
        """Ids of the subscriptions at the tenant."""
        return [str(one) for one in self.tenant.subscriptions]


@contextlib.asynccontextmanager
async def deployment(
    url: str, prefix: str, folder: Path, token: str, *, check_s: float = 5.0, habits: Habits | None = None
) -> AsyncIterator[Deployment]:
    """A receiver that is registered for the types of the traffic."""
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "AWR_API_TOKEN").write_text(token)
    # On a busy machine an answer may take seconds, and this is not about senders that give up.
    tenant, port = Tenant([token], habits=replace(habits or Habits(), timeout_s=60.0)), free_port()
    async with opened(url, prefix) as log:
        await log.declare([Declaration("h", "v1", (DATED, UNDATED), "default", "none", "now")])
    async with serving(tenant) as tenant_url:
        environ = {
            "AWR_REDIS_URL": url,
            "AWR_KEY_PREFIX": prefix,
            "AWR_LANES": "4",
            "AWR_TENANT_URL": tenant_url,
            "AWR_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "AWR_SECRETS_DIR": str(secrets),
            "AWR_REGISTRATION_CHECK_S": str(check_s),
        }
        opening = door(
            url, prefix, {**environ, "AWR_REGISTER": "auto", "AWR_API_TOKEN": None, "AWR_PORT": str(port)}
        )
        front = await asyncio.to_thread(opening.__enter__)
        try:
            await asyncio.to_thread(front.line, "notification_subscription.reconciled")
            yield Deployment(tenant, tenant_url, front, environ, secrets)
        finally:
            await asyncio.to_thread(opening.__exit__, None, None, None)
