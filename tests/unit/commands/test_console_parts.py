"""The tokens of the console follow their files."""

from __future__ import annotations

from pathlib import Path

from commands.console_parts import _Tokens
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
