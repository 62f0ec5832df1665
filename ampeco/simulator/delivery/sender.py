"""Delivers what the tenant put into its outbox: signed, in order per charge point, with retries.

It knows nothing of scenarios or of the API. At most one attempt per charge point and notification subscription
is under way, so order holds as long as the receiver accepts. A refused delivery waits for its retry on the side.
Later ones overtake it, which AMPECO does not rule out either.
"""

import asyncio
import logging
from collections import deque
from datetime import UTC

from ampeco.contract import published
from ampeco.signature import SIGNATURE_HEADER, sign
from ampeco.simulator.delivery.load_client import Connections, NoAnswer
from ampeco.simulator.delivery.spelling import as_bytes
from ampeco.simulator.delivery.waiting import Lane, WaitingRoom, lane_of
from ampeco.simulator.model import Delivery
from ampeco.simulator.switches import Habits, hit
from ampeco.simulator.tenant import Tenant

log = logging.getLogger(__name__)


class Sender:
    """Sends until it is cancelled."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._connections = Connections()
        # A lane is in here while it has something to send; it is either in `_ready` or in a worker's hands.
        self._lanes: dict[Lane, deque[Delivery]] = {}
        self._ready: asyncio.Queue[Lane] = asyncio.Queue()
        self._waiting = WaitingRoom(tenant, self._put)
        self._next_slot_s = 0.0

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._tenant.listen(self._collect)
        self._collect()
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._tenant.habits.concurrency):
                    workers.create_task(self._work())
        finally:
            self._tenant.listen(None)
            self._waiting.close()
            self._connections.close()

    def _collect(self) -> None:
        outbox = self._tenant.outbox
        self._waiting.look_again()
        put = self._waiting.enter if self._tenant.habits.disturbs else self._put
        while outbox:
            put(outbox.popleft())

    def _put(self, delivery: Delivery) -> None:
        """Queue by age: what comes back for a retry or a resend is older than what waits."""
        key = lane_of(delivery)
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque((delivery,))
            self._ready.put_nowait(key)
        elif not lane or lane[-1].rank <= delivery.rank:
            lane.append(delivery)
        else:
            lane.insert(next(i for i, other in enumerate(lane) if other.rank > delivery.rank), delivery)

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            lane = self._lanes[key]
            delivery = lane.popleft()
            if (rate := self._tenant.habits.deliveries_per_s) is not None:
                await self._slot(rate)
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

    async def _slot(self, rate: float) -> None:
        now_s = asyncio.get_running_loop().time()
        at_s = max(now_s, self._next_slot_s)
        self._next_slot_s = at_s + 1 / rate
        await asyncio.sleep(at_s - now_s)

    async def _answer_to(self, delivery: Delivery) -> str:
        habits = self._tenant.habits
        url = delivery.subscription.request.callback_url
        if url is None:  # turned into a Kafka subscription on the way
            return "no-callback-url"
        attempt = len(delivery.answers)
        if hit(habits.unreachable_share, habits.seed, "unreachable", delivery.id, attempt):
            return "connect-error"
        body, described = as_bytes(delivery.body, habits.body_encoding)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "ampeco-simulator",
            **described,
            **self._headers(delivery, body, habits),
        }
        try:
            async with asyncio.timeout(habits.timeout_s):
                answer = str(await self._connections.post(url, headers, body))
        except TimeoutError:
            return "time-out"
        except OSError:
            return "connect-error"
        except NoAnswer:
            return "no-answer"
        lost = hit(habits.lost_answer_share, habits.seed, "lost-answer", delivery.id, attempt)
        return "no-answer" if lost else answer

    def _headers(self, delivery: Delivery, body: bytes, habits: Habits) -> dict[str, str]:
        """What says who sends it, when, for whom.

        Source: published contract v3.110.0; what is signed with the time is a guess, see Habits.
        """
        subscription, signed = delivery.subscription, body
        made_at = delivery.made_at if habits.timestamp_of == "event" else None
        at = (made_at or self._tenant.now()).astimezone(UTC).isoformat(timespec="microseconds")
        at = at.replace("+00:00", "Z")
        if habits.timestamp_signature == "always" or (
            habits.timestamp_signature == "asked"
            and subscription.request.flags.get("includeTimestampInSignature")
        ):
            parts = (at.encode(), signed)
            ordered = parts if habits.timestamp_order == "timestamp-body" else parts[::-1]
            signed = habits.timestamp_separator.encode().join(ordered)
        headers = {
            SIGNATURE_HEADER: sign(
                signed, subscription.key, encoding=habits.signature_encoding, prefix=habits.signature_prefix
            ),
            "X-Timestamp": at,
            "X-Tenant": habits.tenant_id,
        }
        if habits.webhook_headers == "all" or "X-Webhook-Id" in published.headers(delivery.notification):
            headers |= {"X-Webhook-Id": str(subscription.id), "X-Webhook-Type": delivery.notification}
        return headers
