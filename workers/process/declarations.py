"""What one worker process declares in the log of its handlers, and what it reports about that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

import structlog
from redis.exceptions import RedisError

from eventlog.chores import Chores
from eventlog.log import EventLog
from eventlog.registry import Declaration, declared
from eventlog.unwanted import count_unwanted
from handlers.discovery import Found

_RENEW_S = 60.0

_log = structlog.get_logger()


class Declarations:
    """The declarations of one process. Its calls raise RedisError or OSError while Redis does not answer."""

    def __init__(self) -> None:
        self._by_name: dict[str, Declaration] = {}
        self._reported_queues: dict[str, str] = {}
        self._dropped: list[str] = []  # handlers whose waiting events of some types are not counted yet

    @property
    def serves(self) -> bool:
        """Whether the process runs any handler."""
        return any(declaration.serves for declaration in self._by_name.values())

    def add(self, item: Found, *, serves: bool) -> None:
        """Declare a handler, with the next `declare`.

        Args:
            serves: the process runs it.
        """
        handler = item.handler
        self._by_name[handler.name] = Declaration(
            name=handler.name,
            version=item.version,
            types=handler.types,
            queue=handler.served_by,
            order=handler.order,
            start=handler.start,
            isolation=handler.isolation,
            serves=serves,
            key=handler.key_name,
        )

    def served(self, name: str) -> Declaration:
        """Return the declaration of a handler that runs from now on."""
        self._by_name[name] = replace(self._by_name[name], serves=True)
        return self._by_name[name]

    async def declare(self, log: EventLog) -> None:
        """Declare all of them."""
        found = await declared(log, list(self._by_name.values()))
        for name in sorted(found.ignored):
            # Its position went over to another name: it must not begin a second one.
            _log.error("handler.renamed_away", handler=name)
        self._report_queues(found.elsewhere)
        self._dropped += found.dropped

    async def renew_forever(self, log: EventLog) -> None:
        """Declare all of them again now and then: what is not declared any more is forgotten."""
        chores = Chores()
        while True:
            await asyncio.sleep(_RENEW_S)
            with contextlib.suppress(RedisError, OSError):
                again = declared(log, list(self._by_name.values()), again=True)
                if (found := await chores.run("declarations", again)) is not None:
                    self._report_queues(found.elsewhere)

    async def report_dropped(self, log: EventLog) -> None:
        """Say once of each new version which waiting events it does not want any more."""
        while self._dropped:
            found = await count_unwanted(log, self._dropped[0])
            name = self._dropped.pop(0)
            if found is not None and found.events:
                _log.warning(
                    "handler.types_dropped",
                    handler=name,
                    version=found.version,
                    waiting=dict(found.waiting or {}),
                    at_least=not found.is_exact,
                )

    def _report_queues(self, elsewhere: Mapping[str, str]) -> None:
        """Say once of each handler that another deployment of its version declared another queue for it."""
        for name, queue in sorted(elsewhere.items()):
            if self._reported_queues.get(name) != queue:
                ours = self._by_name[name].queue
                _log.warning("handler.queue_conflict", handler=name, queue=ours, declared=queue)
        self._reported_queues = dict(elsewhere)
