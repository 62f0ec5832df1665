"""Waits in threads that are over at the very moment when the event loop has done what they wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


class _Late:
    """A future that ends while a wait for it runs out."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return self._future.result()
        self._future.exception()  # until it has ended
        raise TimeoutError

    def done(self) -> bool:
        return bool(self._future.done())


def let_waits_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each wait of a thread for the event loop run out just when its result is there."""
    run = asyncio.run_coroutine_threadsafe
    monkeypatch.setattr("asyncio.run_coroutine_threadsafe", lambda work, loop: _Late(run(work, loop)))
