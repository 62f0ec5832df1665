"""The lock around changes of the registration is free again when its holder ends, however that comes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from eventlog.errors import ChangeRefused
from receiver import registration_lock


class Store:
    """A lock whose answers take some steps of the event loop."""

    def __init__(self, holder: str = "") -> None:
        self.holder = holder

    async def lock(self, token: str, _: int) -> bool:
        await asyncio.sleep(0)
        if taken := not self.holder:
            self.holder = token
        await asyncio.sleep(0)
        return taken

    async def unlock(self, token: str) -> None:
        await asyncio.sleep(0)
        if self.holder == token:
            self.holder = ""
        await asyncio.sleep(0)


@pytest.mark.parametrize("cancels", [1, 2])
@pytest.mark.parametrize("steps", range(1, 12))
def test_a_cancel_at_any_step_leaves_the_lock_free(steps: int, cancels: int) -> None:
    store = Store()

    async def work() -> None:
        async with registration_lock.held(cast("Any", store)):
            await asyncio.sleep(0)

    async def check() -> None:
        working = asyncio.create_task(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(cancels):
            working.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({working})
        assert store.holder == ""

    asyncio.run(check())


def test_a_lock_that_another_process_holds_stays_with_it() -> None:
    store = Store("another")

    async def check() -> None:
        with pytest.raises(ChangeRefused):
            async with registration_lock.held(cast("Any", store), wait_s=-1):
                pass

    asyncio.run(check())
    assert store.holder == "another"
