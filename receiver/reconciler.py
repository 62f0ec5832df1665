"""One check of our registration: read AMPECO's subscriptions and the log's records, plan, and carry the plan out.

The registrar in each receiver and the commands do the same through it. It decides nothing about time, and logs
nothing. `registration.py` makes the plan.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from ampeco.errors import ApiError, Invalid
from eventlog.gap_records import NO_RECEIVER, NOT_SUBSCRIBED
from eventlog.registration_record import Registration
from eventlog.replicas import Heard, Replica
from eventlog.rotation import Rotation
from eventlog.subscription import SubscriptionStore
from receiver.registration import Known, apply, reconcile, same_url
from receiver.registration_check import (
    NOTHING_WANTED,
    REGISTERED,
    REMOVED,
    TWO_URLS,
    Access,
    Done,
    KeyedCalls,
    Look,
    Wanted,
)
from receiver.subscribed_types import one_spelling, other_spellings, refused, subscribable


class Reconciler:
    """Checks and changes the registration of one deployment. Its caller holds the lock."""

    def __init__(
        self,
        access: Access,
        store: SubscriptionStore,
        callback_url: str,
        *,
        wants: Callable[[], Awaitable[Mapping[str, frozenset[str]]]],
        accepted_key_ids: Callable[[], Iterable[str]],
        pinned: Sequence[str] | None = None,
        released_types: Callable[[], Awaitable[frozenset[str]]] | None = None,
    ) -> None:
        """
        Args:
            callback_url: the URL that AMPECO delivers to.
            wants: returns the types that each registered handler wants now, by its name.
            accepted_key_ids: returns the ids of the keys that this process accepts now.
            pinned: types to subscribe instead of those that the handlers want.
            released_types: returns the types that only retired handlers wanted.
        """
        self.access = access
        self.callback_url = callback_url
        self._store = store
        self._wants = wants
        self._accepted_key_ids = accepted_key_ids
        self._pinned = frozenset(pinned) if pinned is not None else None
        self._released_types = released_types
        self._refused: frozenset[str] = frozenset()

    async def wanted_types(self) -> frozenset[str]:
        """Return the types that are to be subscribed now. It is cheap, so it may be called every few seconds."""
        return self._types(await self._wants())

    async def wanted(self) -> Wanted:
        """Return what is to be subscribed now, and what may be given up."""
        handlers = dict(await self._wants())
        types = self._types(handlers)
        released = subscribable(await self._released_types()) if self._released_types else frozenset()
        return Wanted(handlers, types, released | self._refused | other_spellings(types))

    def _types(self, handlers: Mapping[str, frozenset[str]]) -> frozenset[str]:
        return one_spelling(self._each(handlers), self._refused)

    def _each(self, handlers: Mapping[str, frozenset[str]]) -> list[frozenset[str]]:
        # Pinned types count as one handler each: a user who names both spellings gets both.
        if self._pinned is None:
            return list(handlers.values())
        return [frozenset((name,)) for name in self._pinned]

    async def look(self, wanted: Wanted, *, shrink: bool = False, remove: Iterable[str] = ()) -> Look:
        """Ask AMPECO, and plan.

        Args:
            shrink: give up every type that is not wanted, and not only those of retired handlers.
            remove: ids of further subscriptions for our URL that an operator wants removed.

        Raises:
            ApiError, RedisError, OSError: one of them did not answer.
        """
        stored, registration = await self._store.read(), await self._store.registration()
        heard, rotation = await self._store.heard(), await self._store.rotation()
        replicas = await self._store.replicas()
        # A receiver of an earlier release does not say what it accepts, so no key is known to be out of use.
        is_complete = not await self._store.silent_receivers(replicas)
        existing = tuple(await self.access.notifications.list())
        known = self._known(stored, registration, heard, rotation, replicas if is_complete else None)
        released = wanted.released
        if shrink:
            released |= frozenset(name for one in existing for name in one.notifications)
        plan = reconcile(
            existing,
            wanted.types,
            self.callback_url,
            known=known,
            released=released,
            remove=frozenset(remove),
        )
        elsewhere = [
            url
            for url in (stored.get("callback_url"), plan.moved_from)
            if not same_url(url, self.callback_url)
        ]
        foreign = [one for one in replicas if any(same_url(one.url, url) for url in elsewhere)]
        return Look(existing, stored, registration, heard, known, wanted, plan, tuple(foreign), rotation)

    def _known(
        self,
        stored: Mapping[str, str],
        registration: Registration,
        heard: Heard,
        rotation: Rotation | None,
        replicas: Sequence[Replica] | None,
    ) -> Known:
        keys = {id_: frozenset(found) for id_, found in heard.subscriptions.items()}
        for id_, key_id in (*registration.made.items(), (stored.get("id"), stored.get("key_id"))):
            if id_ and key_id:
                keys[id_] = keys.get(id_, frozenset()) | {key_id}
        accepted = frozenset(self._accepted_key_ids()).union(*(one.accepted for one in replicas or ()))
        held = ""
        if rotation is not None:
            held = "a rotation of the API token is open"
        elif len(heard.recent_keys()) > 1:
            held = "two keys verified events in the last ten minutes"
        return Known(
            stored.get("id"),
            stored.get("callback_url"),
            registration.covers,
            keys,
            # A subscription that we could make now would be refused as well, so none counts as mute.
            accepted if replicas is not None and self.access.key_id in accepted else frozenset(),
            held,
        )

    async def carry_out(self, look: Look) -> Done:
        """Carry the plan out, and record what AMPECO has now.

        Raises:
            ApiError, RedisError, OSError: one of them failed. It is safe to look and plan again.
        """
        if look.registration.removed_ms is not None:
            await self._store.note_state(REMOVED, key_id=self.access.key_id)
            return Done(REMOVED)
        if not look.plan.types:
            await self._store.note_state(NOTHING_WANTED, key_id=self.access.key_id)
            return Done(NOTHING_WANTED)
        if look.foreign:
            return Done(TWO_URLS)  # the others keep it right
        await self._note_lost(look)
        try:
            kept = await apply(
                look.plan, KeyedCalls(self.access.notifications, look.known), self.callback_url
            )
        except ApiError as error:
            if isinstance(error, Invalid):
                self._leave_out(look, error)
            await self._note_never_had(look)
            raise
        assert kept is not None  # noqa: S101 - something is wanted
        return await self._confirm(look, kept)

    async def _note_lost(self, look: Look) -> None:
        """Record what is missing before anything is changed, so that a restart does not forget it."""
        if look.plan.lost:
            was_moved = same_url(look.plan.moved_from, look.stored.get("callback_url"))
            since_ms = look.registration.confirmed_ms or look.registration.now_ms
            await self._store.note_missing(
                NO_RECEIVER if was_moved else NOT_SUBSCRIBED, look.plan.lost, since_ms
            )

    async def _note_never_had(self, look: Look) -> None:
        """Note types that are wanted by now and could not be added. Before the first success nothing is missed."""
        missing = look.wanted.types - look.registration.covers - self._refused
        if missing and look.registration.confirmed_ms is not None:
            await self._store.note_missing(NOT_SUBSCRIBED, missing, look.registration.now_ms)

    async def _confirm(self, look: Look, kept: str) -> Done:
        plan = look.plan
        if plan.keep is None:
            await self._store.note_made(kept, self.access.key_id)
            key_id = self.access.key_id
        else:
            key_id = look.stored.get("key_id", "") if look.stored.get("id") == kept else ""
            key_id = key_id or look.registration.made.get(kept, "")
        if look.rotation is None:
            if plan.left:
                await self._store.set_two(look.registration.now_ms)
            else:
                await self._store.clear_two()
        closed = await self._store.confirm(
            {"id": kept, "callback_url": self.callback_url, "types": ",".join(plan.types), "key_id": key_id},
            state=REGISTERED,
            key_id=self.access.key_id,
            covers=plan.types,
        )
        return Done(REGISTERED, kept, key_id, closed)

    def _leave_out(self, look: Look, error: Invalid) -> None:
        """Leave out the types that AMPECO refused, so that the others are still delivered.

        They stay out until the next start; an update of the tenant may add them.
        """
        asked, types = self._each(look.wanted.handlers), look.plan.types
        replaceable = frozenset(
            name for name in types if one_spelling(asked, self._refused | {name}) - {*types}
        )
        unknown = refused(types, error, replaceable=replaceable)
        if unknown and one_spelling(asked, self._refused | unknown):
            self._refused |= unknown

    @property
    def refused_types(self) -> frozenset[str]:
        """Types that AMPECO refused."""
        return self._refused
