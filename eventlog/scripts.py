"""Loads the Lua scripts; each file is one atomic change."""

from __future__ import annotations

import hashlib
import re
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


def command_at(sha: str, line: int) -> str:
    """Return the first command on a line of a script, in lower case; empty if either is unknown."""
    for file in files("eventlog").joinpath("scripts").iterdir():
        name = file.name.removesuffix(".lua")
        if name != "lib" and hashlib.sha1(source(name).encode()).hexdigest() == sha:  # noqa: S324 - as Redis does
            found = re.search(r"call\('(\w+)'", source(name).splitlines()[line - 1])
            return found[1].lower() if found else ""
    return ""


class Scripts:
    """Every script, bound to one client. A script that Redis no longer has is loaded again."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        def bound(name: str) -> AsyncScript:
            return client.register_script(source(name))

        self.append = bound("append")
        self.beat = bound("beat")
        self.close_gap = bound("close_gap")
        self.count = bound("count")
        self.dead_discard = bound("dead_discard")
        self.declare = bound("declare")
        self.due = bound("due")
        self.elect = bound("elect")
        self.find = bound("find")
        self.find_open = bound("find_open")
        self.lag = bound("lag")
        self.ledger_begin = bound("ledger_begin")
        self.ledger_clear = bound("ledger_clear")
        self.ledger_finish = bound("ledger_finish")
        self.lost = bound("lost")
        self.match = bound("match")
        self.pause = bound("pause")
        self.probe = bound("probe")
        self.pulse = bound("pulse")
        self.recompute = bound("recompute")
        self.remembers = bound("remembers")
        self.rename = bound("rename")
        self.reopen = bound("reopen")
        self.resume = bound("resume")
        self.retire = bound("retire")
        self.standing = bound("standing")
        self.step = bound("step")
        self.rolled_back = bound("rolled_back")
        self.sweep = bound("sweep")
        self.take = bound("take")
        self.trim = bound("trim")
