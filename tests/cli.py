"""The command line in this process, for tests of what commands print and how they end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from commands import main


class Cli:
    """Runs commands against one log."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str, prefix: str
    ) -> None:
        self._capsys = capsys
        for name, value in {"AWR_REDIS_URL": url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4"}.items():
            monkeypatch.setenv(name, value)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main.main(list(words), prog_name="ampeco-receiver")
        out, err = self._capsys.readouterr()
        return int(end.value.code or 0), out, err

    def json(self, *words: str) -> Any:
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)
