"""Loads the Lua scripts of this room; one file is one atomic change."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis.asyncio
    from redis.commands.core import AsyncScript


# Redis gives a script no way to load another; what several need stands in front of those that use it.
_STREAM_IDS = """\
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function later(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end
"""
_COMPARE = ("recompute", "reopen", "step", "trim")


@cache
def source(name: str) -> str:
    """Text of `scripts/<name>.lua`; those that compare stream ids have `parts` and `later` in front."""
    text = files("eventlog").joinpath("scripts", f"{name}.lua").read_text("utf-8")
    if name not in _COMPARE:
        return text
    shebang, rest = text.split("\n", 1)
    return f"{shebang}\n{_STREAM_IDS}{rest}"


class Scripts:
    """Every script, bound to one client; a script Redis has forgotten is loaded again by itself."""

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
        self.standing = bound("standing")
        self.step = bound("step")
        self.sweep = bound("sweep")
        self.take = bound("take")
        self.trim = bound("trim")
