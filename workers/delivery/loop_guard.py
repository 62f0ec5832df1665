"""Remembers the actions of one attempt, so that their echoes are known, and ends loops of actions and echoes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from ampeco.reflections import entities_of, rule_of, word_of
from ampeco.wire import WireRequest
from eventlog.log import EventLog
from eventlog.recent_calls import LOOP_MS, Held, RecentCall, forget, remember
from eventlog.record import StoredEvent
from handlers.outcomes import LoopGuarded
from workers.delivery.attempt_lines import EACH, HandlerLines
from workers.delivery.echoes import call_behind
from workers.once.step import DeliveryRevoked

_PAUSE_S = 0.1
_MARGIN_S = 0.5

_log = structlog.get_logger()
T = TypeVar("T")


class LoopGuard:
    """Checks each action of one attempt. Made when the first action is called: most attempts call none.

    Args:
        depth: most actions of a chain, for each entity, within ten minutes.
        lifted: an operator ended the wait of this event, so that its chain begins again.
        alive: whether the lease still lives.
        lines: bounds the lines about what is held back.
    """

    def __init__(
        self,
        log: EventLog,
        handler: str,
        stored: StoredEvent,
        *,
        depth: int,
        lifted: bool,
        alive: Callable[[], bool],
        lines: HandlerLines = EACH,
    ) -> None:
        self._eventlog = log
        self._handler = handler
        self._stored = stored
        self._depth = depth
        self._lifted = lifted
        self._alive = alive
        self._lines = lines

    async def admit(self, request: WireRequest) -> None:
        """Remember an action that is about to leave.

        Raises:
            LoopGuarded: it must not leave now.
            DeliveryRevoked: the lease was lost on the way.
        """
        entities, behind = self._concerned(request)
        if not entities:
            return
        act = RecentCall(0, request.operation.name, self._handler, self._stored.event_id, word_of(request))
        held = await self._asked(
            lambda: remember(
                self._eventlog,
                act,
                entities,
                nonce=self._nonce(request),
                depth=self._depth,
                echo_at_ms=None if behind is None else behind.at_ms,
                lift=self._lifted,
            )
        )
        self._lifted = False  # once: a chain that this very attempt makes is a chain again
        if held is not None:
            raise self._guarded(request, held)

    async def revoke(self, request: WireRequest) -> None:
        """Forget an action that certainly did nothing."""
        entities, _ = self._concerned(request)
        if entities:
            await self._asked(lambda: forget(self._eventlog, entities, nonce=self._nonce(request)))

    def _concerned(self, request: WireRequest) -> tuple[Sequence[str], RecentCall | None]:
        """Return for which entities an action is remembered, and the action of which the event is the echo."""
        behind = call_behind(self._stored)
        if behind is None and rule_of(request.operation.name) is None:
            return (), None  # nothing could show it, and it continues nothing
        return entities_of(request.operation, request.path), behind

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except (RedisError, OSError) as error:
                if not self._alive():
                    raise DeliveryRevoked from error
                await asyncio.sleep(_PAUSE_S)

    def _nonce(self, request: WireRequest) -> str:
        what = (self._handler, self._stored.event_id, request.operation.name, request.path)
        return hashlib.sha256(repr(what).encode()).hexdigest()[:16]

    def _guarded(self, request: WireRequest, held: Held) -> LoopGuarded:
        self._lines.tell(
            logging.WARNING,
            lambda **fields: _log.warning("action.held_back", **fields),
            ("held-back", request.operation.name),
            counted="times",
            each=True,
            handler=self._handler,
            event_id=self._stored.event_id,
            key=held.entity,
            operation=request.operation.name,
            calls=held.calls,
            retry_in_s=round(held.wait_s, 1),
        )
        said = (
            f"loop-guard: {held.calls} actions on {held.entity} within {LOOP_MS // 60_000} minutes, each in answer "
            f"to an echo of the one before; {request.operation.name} waits"
        )
        return LoopGuarded(said, after_s=held.wait_s + _MARGIN_S)
