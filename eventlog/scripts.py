"""Loads the Lua scripts; each file is one atomic change."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis.asyncio
    from redis.commands.core import AsyncScript


@cache
def source(name: str) -> str:
    """Return the text of `scripts/<name>.lua`, with `lib.lua` after its first line."""
    shebang, rest = _text(name).split("\n", 1)
    return f"{shebang}\n{_text('lib')}{rest}"


def _text(name: str) -> str:
    return files("eventlog").joinpath("scripts", f"{name}.lua").read_text("utf-8")


class Scripts:
    """Every script, bound to one client. A script that Redis no longer has is loaded again."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        def bound(name: str) -> AsyncScript:
            return client.register_script(source(name))

        self.append = bound("append")
        self.beat = bound("beat")
        self.close_gap = bound("close_gap")
        self.dead_discard = bound("dead_discard")
        self.declare = bound("declare")
        self.due = bound("due")
        self.elect = bound("elect")
        self.find = bound("find")
        self.find_open = bound("find_open")
        self.ledger_begin = bound("ledger_begin")
        self.ledger_clear = bound("ledger_clear")
        self.ledger_finish = bound("ledger_finish")
        self.lost = bound("lost")
        self.match = bound("match")
        self.pause = bound("pause")
        self.probe = bound("probe")
        self.recompute = bound("recompute")
        self.remembers = bound("remembers")
        self.rename = bound("rename")
        self.reopen = bound("reopen")
        self.resume = bound("resume")
        self.retire = bound("retire")
        self.spread = bound("spread")
        self.standing = bound("standing")
        self.step = bound("step")
        self.sweep = bound("sweep")
        self.take = bound("take")
        self.trim = bound("trim")
