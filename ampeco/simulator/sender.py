"""Delivers what the tenant put into its outbox: signed, in order per charge point, with retries.

It knows nothing of scenarios or of the API. At most one attempt per charge point and notification subscription
is under way, so order holds as long as the receiver accepts. A refused delivery waits for its retry aside, and
later ones overtake it, which AMPECO does not rule out either.
"""

import asyncio
import logging
from collections import deque

from ampeco.signature import SIGNATURE_HEADER, sign
from ampeco.simulator.connection import Connections, NoAnswer
from ampeco.simulator.model import Delivery
from ampeco.simulator.tenant import Tenant

log = logging.getLogger(__name__)

_Lane = tuple[int, int | None]  # notification subscription, charge point


class Sender:
    """Sends until it is cancelled."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._connections = Connections()
        # A lane is in here while it has something to send; it is either in `_ready` or in a worker's hands.
        self._lanes: dict[_Lane, deque[Delivery]] = {}
        self._ready: asyncio.Queue[_Lane] = asyncio.Queue()

    async def run(self) -> None:
        """Deliver for ever."""
        self._tenant.listen(self._collect)
        self._collect()
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._tenant.habits.concurrency):
                    workers.create_task(self._work())
        finally:
            self._tenant.listen(None)
            self._connections.close()

    def _collect(self) -> None:
        outbox = self._tenant.outbox
        while outbox:
            self._put(outbox.popleft())

    def _put(self, delivery: Delivery) -> None:
        """Queue by age: what comes back for a retry or a resend is older than what waits."""
        key = (delivery.subscription.id, delivery.charge_point_id)
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque((delivery,))
            self._ready.put_nowait(key)
        elif not lane or lane[-1].id < delivery.id:
            lane.append(delivery)
        else:
            lane.insert(next(i for i, other in enumerate(lane) if other.id > delivery.id), delivery)

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            lane = self._lanes[key]
            delivery = lane.popleft()
            if delivery.state == "pending":  # not dropped meanwhile
                await self._attempt(delivery)
            if lane:
                self._ready.put_nowait(key)
            else:
                del self._lanes[key]

    async def _attempt(self, delivery: Delivery) -> None:
        answer = await self._answer_to(delivery)
        pause_s = self._tenant.attempted(delivery, answer)
        if pause_s is not None:
            asyncio.get_running_loop().call_later(pause_s, self._put, delivery)
        elif delivery.state == "failed":
            facts = {"delivery_id": delivery.id, "notification": delivery.notification, "answer": answer}
            log.info("delivery.given_up", extra=facts)

    async def _answer_to(self, delivery: Delivery) -> str:
        habits = self._tenant.habits
        subscription = delivery.subscription
        url = subscription.request.callback_url
        if url is None:  # turned into a Kafka subscription on the way
            return "no-callback-url"
        signature = sign(
            delivery.body,
            subscription.key,
            encoding=habits.signature_encoding,
            prefix=habits.signature_prefix,
        )
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "ampeco-simulator",
            SIGNATURE_HEADER: signature,
        }
        try:
            async with asyncio.timeout(habits.timeout_s):
                return str(await self._connections.post(url, headers, delivery.body))
        except TimeoutError:
            return "time-out"
        except OSError:
            return "connect-error"
        except NoAnswer:
            return "no-answer"
