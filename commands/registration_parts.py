"""The parts that the `registration` commands use: the log, AMPECO, and the lock around changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from commands import prepare
from commands.options import stored_log

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.subscription import SubscriptionStore
    from receiver.reconciler import Reconciler
    from receiver.registration_check import Done, Look
    from receiver.settings import Settings

_T = TypeVar("_T")
NEEDS = ("AWR_TENANT_URL", "AWR_API_TOKEN", "AWR_PUBLIC_URL")


class Parts:
    """The parts that a command uses.

    Attributes:
        settings: with tenant, API token and public URL.
    """

    def __init__(
        self, settings: Settings, log: EventLog, store: SubscriptionStore, reconciler: Reconciler
    ) -> None:
        self.settings = settings
        self.log = log
        self.store = store
        self.reconciler = reconciler

    async def look(self, *, remove: Iterable[str] = ()) -> Look:
        """Ask AMPECO, and plan what `apply` does."""
        return await self.reconciler.look(await self.reconciler.wanted(), shrink=True, remove=remove)

    async def carry_out(self, look: Look, *, remove: Iterable[str] = ()) -> Done:
        """Carry a plan out, as if the subscription had never been removed; leave out types that AMPECO refuses."""
        from dataclasses import replace

        from ampeco.errors import Invalid

        while True:
            refused = self.reconciler.refused_types
            try:
                return await self.reconciler.carry_out(
                    replace(look, registration=replace(look.registration, removed_ms=None))
                )
            except Invalid:
                if self.reconciler.refused_types == refused:
                    raise
            look = await self.look(remove=remove)


def on_registration(
    work: Callable[[Parts], Awaitable[_T]],
    *,
    changes: bool = False,
    change: Callable[[Settings], Settings] = lambda settings: settings,
) -> _T:
    """Open the log and a client for AMPECO, and return what `work` makes of them.

    Args:
        changes: `work` changes something, so it runs while no receiver checks or changes the registration.
        change: replaces settings by options of the command.
    """
    settings = change(prepare(need=NEEDS, logs=False))

    async def run() -> _T:
        from eventlog.ownership import check_tenant
        from eventlog.subscription import SubscriptionStore
        from receiver.access import Clients, make_reconciler
        from receiver.registration_lock import held

        clients = Clients()
        key_ids = [key.key_id for key in settings.accepted_keys]
        async with stored_log(settings) as log:
            await check_tenant(log, settings.tenant_url or "")
            store = SubscriptionStore(log)
            parts = Parts(settings, log, store, make_reconciler(settings, clients, log, lambda: key_ids))
            try:
                if not changes:
                    return await work(parts)
                async with held(store):
                    return await work(parts)
            finally:
                await clients.close()

    return asyncio.run(run())
