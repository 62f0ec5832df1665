"""What a user of Redis must be allowed is tried as a whole: every command of the scripts is among the tries."""

from __future__ import annotations

import re

from eventlog.rights import TRIES
from tests.meta.repository import ROOT

_CALLED = re.compile(r"call\('([A-Z]+)'")


def test_every_command_of_a_script_is_tried() -> None:
    tried = {words[0] for words in TRIES}
    called = {
        name
        for path in (ROOT / "eventlog" / "scripts").glob("*.lua")
        for name in _CALLED.findall(path.read_text())
    }
    assert {"XADD", "HSET", "ZADD", "PEXPIRE"} <= called, "the pattern finds calls"
    assert called <= tried


def test_every_command_of_the_room_is_tried() -> None:
    """Python calls most commands by redis-py's methods, named like them."""
    tried = {words[0].lower() for words in TRIES}
    known = {
        "execute",
        "execute_command",
        "append",
        "popleft",
        "config_get",
        "aclose",
        "pipeline",
        "scan_iter",
        "pack_command",
        "items",  # of a dictionary
    }
    names = set()
    for path in (ROOT / "eventlog").rglob("*.py"):
        names |= set(re.findall(r"\b(?:redis|asked|changes)\.([a-z_]+)\(", path.read_text()))
    commands = {"delete": "del", "hscan_iter": "hscan", "memory_usage": "memory", "script_load": "script"}
    used = {commands.get(name, name) for name in names - known}
    assert used - tried == set()
