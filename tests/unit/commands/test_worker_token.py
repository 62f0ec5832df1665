"""A worker goes on with the token it has while a secret file holds something that is not a token."""

from pathlib import Path

import pytest
import structlog

from commands.worker import token_source


def test_a_token_that_cannot_be_read_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWR_SECRETS_DIR", str(tmp_path))
    file = tmp_path / "AWR_API_TOKEN"
    file.write_text("the-first-token-of-all")
    read = token_source()
    assert read() == "the-first-token-of-all"
    with structlog.testing.capture_logs() as lines:
        file.write_text("\ufeffthe-second-token")
        assert [read() for _ in range(3)] == [None] * 3
        file.write_text("the-second-token-of-all")
        assert read() == "the-second-token-of-all"
    (line,) = lines
    assert (line["event"], line["setting"]) == ("settings.change_refused", "AWR_API_TOKEN")
    assert "the-second-token" not in repr(line)
