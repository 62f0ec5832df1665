"""`handlers check` and `handlers new`: what a plugin does at import, and names that make bad code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from handlers import Context, Event, Raw, handler

@handler("acme.good", on=["*"])
async def good(event: Event[Raw], ctx: Context) -> None:
    pass
"""
PLUGINS = {
    "raise SystemExit(3)": "SystemExit: 3; a module must not end the process: remove the call of sys.exit",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "class Odd(BaseException):\n    def __str__(self): raise ValueError\nraise Odd": "Odd: (it cannot be described)",
    "raise ValueError('two\\nlines \\udcff')": r"ValueError: two lines \udcff",
    "def f(): f()\nf()": "RecursionError: maximum recursion depth exceeded",
    "def (": "SyntaxError: invalid syntax (plugin.py, line 1)",
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "import warnings\nwarnings.simplefilter('error')\nwarnings.warn('old')": "UserWarning: old",
    "input()": "EOFError: EOF when reading a line",
    "import os\nos._exit(3)": "the process ended with 3 while it was loaded",
    "import os\nos.kill(os.getpid(), 9)": "the process was ended by signal 9 while it was loaded",
    "import os\nos.closerange(0, 100)": "the process ended with 0 while it was loaded",
}
HARMLESS = """
import logging, os, signal, sys
print("printed at import")
os.chdir("/")
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.disable()
sys.stdout = None
"""
HANGS = "import time\nwhile True:\n    time.sleep(1)\n"


def check(folder: Path, text: str, *words: str) -> tuple[int, str, str]:
    (folder / "plugin.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "commands", "handlers", "check", "plugin.py", *words],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWR_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("text", PLUGINS)
def test_whatever_a_plugin_raises_is_a_fault_of_it(cli_in, text):
    code, out, err = cli_in(text)
    assert (code, err) == (1, "")
    (fault,) = json.loads(out).pop("faults")
    assert (fault["source"], fault["error"]) == ("plugin.py", PLUGINS[text])
    assert json.loads(out)["handlers"] == []


@pytest.fixture
def cli_in(tmp_path, monkeypatch, capsys):
    """Check a plugin with this text, without a start of the program for each."""
    from commands import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(text: str, *words: str) -> tuple[int, str, str]:
        (tmp_path / "plugin.py").write_text(text)
        with pytest.raises(SystemExit) as end:
            main.main(["handlers", "check", "plugin.py", "--json", *words], prog_name="ampeco-receiver")
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def test_a_plugin_that_hangs_is_named_after_its_time(cli_in):
    code, out, _ = cli_in(HANGS, "--time-limit", "5")
    assert code == 1
    fault = {"source": "plugin.py", "error": "not loaded after 5 s", "where": None}
    assert json.loads(out)["faults"] == [fault]


def test_what_a_plugin_prints_or_changes_does_not_reach_the_result(tmp_path):
    code, out, err = check(tmp_path, GOOD + HARMLESS, "--json")
    assert (code, err) == (0, "printed at import\n")
    assert [row["name"] for row in json.loads(out)["handlers"]] == ["acme.good"]


FILTERS = """
from ampeco.notifications import HardwareStatus, SessionUpdate
from handlers import Context, Event, handler

@handler("acme.raises", where=lambda event: event.payload.nothing > 3)
async def raises(event: Event[HardwareStatus], ctx: Context) -> None: ...

@handler("acme.says-yes", where=lambda event: "yes")
async def says_yes(event: Event[HardwareStatus], ctx: Context) -> None: ...

@handler("acme.of-misfits", where=lambda event: event.payload.session.energy > 3)
async def of_misfits(event: Event[SessionUpdate], ctx: Context) -> None: ...
"""


def test_a_filter_is_tried_on_the_samples_of_its_types(tmp_path):
    code, out, _ = check(tmp_path, FILTERS, "--json")
    assert code == 1
    raises, says_yes = (fault["error"] for fault in json.loads(out)["faults"])
    assert raises.startswith("handler 'acme.raises': where= raises AttributeError (")
    assert "plugin.py:5 in <lambda>) for a sample of HardwareStatusNotification" in raises
    assert says_yes.startswith("handler 'acme.says-yes': where= must return True or False")
    assert len(json.loads(out)["handlers"]) == 3


KEYS = """
from ampeco.notifications import HardwareStatus, SessionUpdate
from handlers import Context, Event, handler

@handler("acme.raises", key=lambda event: event.payload.nothing)
async def raises(event: Event[HardwareStatus], ctx: Context) -> None: ...

@handler("acme.of-misfits", key=lambda event: str(event.payload.session.energy), throttle="1/h")
async def of_misfits(event: Event[SessionUpdate], ctx: Context) -> None: ...
"""


def test_keys_are_tried_on_the_samples_and_shown_with_the_throttle(cli_in):
    code, out, _ = cli_in(KEYS)
    assert code == 1
    (raises,) = (fault["error"] for fault in json.loads(out)["faults"])
    assert raises.startswith("handler 'acme.raises': key= raised AttributeError at ")
    assert "plugin.py:5 in <lambda> for a sample of HardwareStatusNotification" in raises
    of_misfits, _ = json.loads(out)["handlers"]
    assert of_misfits["key"].endswith(".<lambda>")
    assert of_misfits["throttle"] == "1/h"


DEPRECATED = """
from handlers.promise import deprecate

deprecate("old_name", since="1.1", removed_in="2.0", instead="new_name")
"""


def test_what_is_deprecated_is_shown_and_is_no_fault(cli_in, tmp_path):
    code, out, _ = cli_in(GOOD + DEPRECATED)
    assert code == 0
    (use,) = json.loads(out)["deprecated"]["plugin.py"]
    assert use == (
        f"{tmp_path / 'plugin.py'}:10: old_name is deprecated since contract 1.1 and goes in 2.0: use new_name"
    )


def test_new_handlers_of_any_name_run_and_pass_their_test(tmp_path, monkeypatch, capsys):
    from commands import main

    monkeypatch.chdir(tmp_path)
    for name in ("class", "match", "asyncio", "pytest", "handler", "session-event", "test-me", "3.14"):
        with pytest.raises(SystemExit) as end:
            main.main(["handlers", "new", name], prog_name="ampeco-receiver")
        assert end.value.code == 0, capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:valkey", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert " passed" in done.stdout, done.stdout
    assert not re.search(r"failed|error", done.stdout), done.stdout


@pytest.mark.parametrize("name", ["", "A", "a_b", "-", "a" * 65, "é", "a/b", "a\nb"])
def test_a_name_that_no_handler_may_have_is_refused(name, tmp_path, monkeypatch, capsys):
    from commands import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main.main(["handlers", "new", name], prog_name="ampeco-receiver")
    err = capsys.readouterr().err
    assert end.value.code == 2
    assert len(err.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


def test_nothing_that_exists_is_overwritten(tmp_path, monkeypatch, capsys):
    from commands import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "x_handler.py").mkdir()
    (tmp_path / "test_y_handler.py").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for words in (
        ["x"],
        ["y"],
        ["z", "--folder", "file"],
        ["z", "--folder", "file/inner"],
        ["z", "--folder", "/dev/null/a"],
    ):
        with pytest.raises(SystemExit) as end:
            main.main(["handlers", "new", *words], prog_name="ampeco-receiver")
        err = capsys.readouterr().err
        assert end.value.code in (1, 2)
        assert len(err.splitlines()) == 1, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "test_y_handler.py", "x_handler.py"]
