"""Loads the Lua scripts; each file is one atomic change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.commands.core import AsyncScript
from redis.commands.core import Script as BlockingScript

if TYPE_CHECKING:
    import redis
    import redis.asyncio

ROUTE = "never"
"""Name of the key that every script call declares. Nothing ever writes it.

The key says in which hash slot the script works. While that slot moves to another node of a cluster, a node answers
ASK for a key that it does not hold, before the script begins. So no script runs on half of a log.
"""


@cache
def source(name: str) -> str:
    """Return the text of `scripts/<name>.lua`, with `lib.lua` after its first line."""
    shebang, rest = _text(name).split("\n", 1)
    return f"{shebang}\n{_text('lib')}{rest}"


def _text(name: str) -> str:
    return files("eventlog").joinpath("scripts", f"{name}.lua").read_text("utf-8")


def command_at(sha: str, line: int) -> str:
    """Return the first command on a line of a script, in lower case; empty if either is unknown."""
    for file in files("eventlog").joinpath("scripts").iterdir():
        name = file.name.removesuffix(".lua")
        if name != "lib" and hashlib.sha1(source(name).encode()).hexdigest() == sha:  # noqa: S324 - as Redis does
            found = re.search(r"call\('(\w+)'", source(name).splitlines()[line - 1])
            return found[1].lower() if found else ""
    return ""


def blocking(client: redis.Redis, name: str) -> BlockingScript:
    """Return a script for a blocking client; the caller declares the one key that it uses."""
    return BlockingScript(client, source(name))


class Script(AsyncScript):
    """One script of a log, which declares the log's `ROUTE` key."""

    def __init__(self, client: redis.asyncio.Redis, name: str, route: str) -> None:
        super().__init__(client, source(name))
        self._route = route

    async def __call__(self, *, args: Iterable[Any]) -> Any:  # type: ignore[override]
        return await super().__call__([self._route], args)


class Scripts:
    """Every script, bound to one client. A script that Redis no longer has is loaded again.

    Args:
        route: the full name of the log's `ROUTE` key.
    """

    def __init__(self, client: redis.asyncio.Redis, route: str) -> None:
        def bound(name: str) -> Script:
            return Script(client, name, route)

        self.act = bound("act")
        self.announce = bound("announce")
        self.append = bound("append")
        self.asked = bound("asked")
        self.audit = bound("audit")
        self.audit_unlogged = bound("audit_unlogged")
        self.beat = bound("beat")
        self.behind = bound("behind")
        self.blocked = bound("blocked")
        self.change_gap = bound("change_gap")
        self.claim = bound("claim")
        self.close_gap = bound("close_gap")
        self.count = bound("count")
        self.dead_discard = bound("dead_discard")
        self.dead_scan = bound("dead_scan")
        self.declare = bound("declare")
        self.draw = bound("draw")
        self.due = bound("due")
        self.elect = bound("elect")
        self.ends = bound("ends")
        self.equal_before = bound("equal_before")
        self.find = bound("find")
        self.fire = bound("fire")
        self.find_newest = bound("find_newest")
        self.find_open = bound("find_open")
        self.hurry = bound("hurry")
        self.kept = bound("kept")
        self.lag = bound("lag")
        self.ledger_begin = bound("ledger_begin")
        self.ledger_clear = bound("ledger_clear")
        self.ledger_finish = bound("ledger_finish")
        self.lost = bound("lost")
        self.match = bound("match")
        self.newest_gaps = bound("newest_gaps")
        self.newest_letters = bound("newest_letters")
        self.note = bound("note")
        self.open_before = bound("open_before")
        self.open_gap = bound("open_gap")
        self.open_heads = bound("open_heads")
        self.outage = bound("outage")
        self.pause = bound("pause")
        self.present = bound("present")
        self.probe = bound("probe")
        self.publish = bound("publish")
        self.quarantine_heads = bound("quarantine_heads")
        self.pulse = bound("pulse")
        self.put_shape = bound("put_shape")
        self.read_at_once = bound("read_at_once")
        self.recompute = bound("recompute")
        self.remembers = bound("remembers")
        self.rename = bound("rename")
        self.reopen = bound("reopen")
        self.resume = bound("resume")
        self.retire = bound("retire")
        self.sample = bound("sample")
        self.silence = bound("silence")
        self.spread = bound("spread")
        self.standing = bound("standing")
        self.step = bound("step")
        self.steps = bound("steps")
        self.rolled_back = bound("rolled_back")
        self.sweep = bound("sweep")
        self.take = bound("take")
        self.throttle = bound("throttle")
        self.trim = bound("trim")
        self.unlock = bound("unlock")
        self.unwanted = bound("unwanted")
