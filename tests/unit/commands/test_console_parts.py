"""The tokens of the console follow their files; which names lead to it."""

from __future__ import annotations

import socket
from pathlib import Path

from ampeco.host_names import is_among
from commands.console_parts import _own_names, _Tokens
from receiver.settings import load


def test_a_changed_file_counts_at_once_and_a_refused_one_changes_nothing(monkeypatch, tmp_path: Path) -> None:
    environ = {"AWR_SECRETS_DIR": str(tmp_path)}
    monkeypatch.setenv("AWR_SECRETS_DIR", str(tmp_path))
    file = tmp_path / "AWR_CONSOLE_TOKEN"
    file.write_text("a-first-token-1234\n")
    tokens = _Tokens(load(environ))
    assert tokens() == {"act": "a-first-token-1234"}
    file.write_text("short")
    assert tokens() == {"act": "a-first-token-1234"}
    file.write_text("another-token-1234")
    (tmp_path / "AWR_CONSOLE_BODIES_TOKEN").write_text("a-token-for-bodies")
    assert tokens() == {"act": "another-token-1234", "bodies": "a-token-for-bodies"}
    file.unlink()
    assert tokens() == {"bodies": "a-token-for-bodies"}


def test_the_names_of_this_console_are_found_however_they_are_spelled() -> None:
    names = _own_names(load({"AWR_ADMIN_HOST": "Admin.Example.", "AWR_CONSOLE_HOSTS": "Ops.Example,awr.svc"}))
    for host in ("admin.example", "ADMIN.example.:9090", "ops.example:443", "AWR.svc.", socket.gethostname()):
        assert is_among([host], names), host
    assert not is_among(["example"], names)
