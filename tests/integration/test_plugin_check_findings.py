"""`handlers check` finds all that is wrong with all plugins: one line for each finding, with its place."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ampeco.notifications import SessionUpdate
from handlers import Context, Event, Raw, Timer, handler
from tests.cli import Cli
from tests.harness import declaration, opened

Check = Callable[..., tuple[int, list[str], str]]

HEAD = """from typing import ClassVar
from pydantic import Field
from pydantic_settings import BaseSettings
from ampeco.notifications import HardwareStatus, Payload, SessionUpdate
from handlers import Backoff, Context, Event, Raw, Timer, handler, other

"""
LINES = len(HEAD.splitlines())
BODY = "\nasync def {function}(event: Event[{of}], ctx: Context) -> None: ...\n"


def one(options: str, of: str = "SessionUpdate", function: str = "h") -> str:
    return f"@handler('acme.{function}', {options})" + BODY.format(function=function, of=of)


@pytest.fixture
def check(tmp_path, monkeypatch, capsys) -> Check:
    """Write plugins, check them in this process, and return the exit code, the findings and the table."""
    from commands import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*words: str, **plugins: str) -> tuple[int, list[str], str]:
        for name, text in plugins.items():
            (tmp_path / f"{name}.py").write_text(HEAD + text)
        with pytest.raises(SystemExit) as end:
            main.main(["handlers", "check", *(f"{name}.py" for name in plugins), *words], prog_name="awr")
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith("off, until they are configured")]
        return int(end.value.code or 0), lines, out

    return run


@pytest.mark.parametrize(
    ("options", "of", "says"),
    [
        ("timeout_s=float('inf')", "SessionUpdate", "timeout_s must be positive"),
        ("timeout_s=float('nan')", "SessionUpdate", "timeout_s must be positive"),
        ("queue=''", "SessionUpdate", "queue is empty"),
        ("max_attempts=2.5", "SessionUpdate", "max_attempts must be positive, a whole number"),
        ("backoff=Backoff(base_s=-1)", "SessionUpdate", "backoff must be a Backoff with 0 < base_s"),
        ("not_yet_for_s=-5", "SessionUpdate", "not_yet_for_s must be positive"),
        ("on=['a\\tb']", "Raw", "has '\\t' (U+0009) at place 2"),
        ("calls=['charge-point.rest']", "SessionUpdate", "did you mean 'charge-point.reset'?"),
        ("on=['SessionUpdateNotifcation']", "Raw", "did you mean 'SessionUpdateNotification'?"),
        ("on=['ticket.opened']", "Raw", "a newer one is written other('ticket.opened')"),
        ("on=[other('SessionUpdateNotifications')]", "Raw", "did you mean 'SessionUpdateNotification'?"),
        ("on=['receiver.gap.close']", "Raw", "did you mean 'receiver.gap.closed'?"),
        ("strict=False", "Timer", "it wants timers alone, and only its other events can set one"),
        ("where=lambda: True", "SessionUpdate", "where must be a plain function of the event alone"),
        ("throttle='1/15m'", "SessionUpdate", "it is '1/15m'"),
        ("where=lambda event: event.payload.sesion", "SessionUpdate", "where= raises AttributeError"),
    ],
)
def test_what_cannot_work_is_found_with_its_line(check: Check, options: str, of: str, says: str):
    code, lines, _ = check(mine=one(options, of))
    assert code == 1
    (line,) = lines
    assert line.startswith(f"mine.py:{LINES + 1}: handler 'acme.h': ")
    assert says in line


@pytest.mark.parametrize(("keyword", "meant"), [("timeout", "timeout_s"), ("keys", "key"), ("wher", "where")])
def test_a_misspelled_keyword_is_found_with_its_line(check: Check, keyword: str, meant: str):
    code, lines, _ = check(mine=one(f"{keyword}=5, queue=''") + one("concurrency=0", function="later"))
    assert code == 1
    said = f"handler 'acme.h': unexpected keyword: {keyword}; did you mean {meant!r}?"
    assert lines[0] == f"mine.py:{LINES + 1}: {said}"
    assert "queue is empty" in lines[1]
    assert lines[2].startswith(f"mine.py:{LINES + 3}: handler 'acme.later': concurrency must be positive")


def test_a_decorator_without_a_name_hides_no_other_fault(check: Check):
    code, lines, _ = check(mine="@handler" + BODY.format(function="h", of="SessionUpdate") + one("queue=''"))
    assert code == 1
    assert lines[0] == f'mine.py:{LINES + 1}: handler h: @handler needs a name: @handler("acme.mail")'
    assert "queue is empty" in lines[1]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("from ampeco.notifications import SesionUpdate", "SessionUpdate"),
        ("from ampeco.errors import RateLimitted", "RateLimited"),
        ("from handlers import Giveup", "GiveUp"),
    ],
)
def test_a_misspelled_import_of_ours_names_the_nearest(check: Check, line: str, meant: str):
    code, lines, table = check(mine=f"{line}\n")
    assert (code, table) == (1, "")
    module, name = line.split()[1::2]
    said = f"ImportError: {module} has no {name!r}; did you mean {meant!r}?"
    assert lines == [f"mine.py:{LINES + 1}: {said}"]


@pytest.mark.parametrize("name", ["mine", "mine/", "mine/one"])
def test_a_folder_is_refused_with_the_name_of_a_file(check: Check, name: str, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "one.py").write_text(HEAD + one("strict=True"))
    code, (line,), _ = check(name)
    assert code == 1
    assert line == f"{name}: {name} is neither a module nor a .py file; name its files, such as mine/one.py"
    assert check("mine.one")[:2] == (0, [])


def test_all_faults_of_all_handlers_of_all_plugins_are_shown(check: Check):
    first = one("timeout_s=0, queue='', max_attempts=2.5", function="a") + one("concurrency=0", function="b")
    code, lines, table = check(
        first=first + one("dry_run=True", function="good"),
        ends="import sys\nsys.exit(3)\n",
        dies="import os\nos._exit(4)\n",
        last=one("order='sideways'", function="c"),
    )
    assert code == 1
    assert "acme.good" in table
    found = {line.partition(": ")[0]: line for line in lines}
    of_a = [line.split(": ")[2] for line in lines if line.startswith(f"first.py:{LINES + 1}:")]
    assert sorted(line.split(" ")[0] for line in of_a) == ["max_attempts", "queue", "timeout_s"]
    assert "concurrency" in found[f"first.py:{LINES + 3}"]
    assert "SystemExit: 3; a module must not end the process" in found[f"ends.py:{LINES + 2}"]
    assert found["dies.py"] == "dies.py: the process ended with 4 while it was loaded"
    assert "order must be one of" in found[f"last.py:{LINES + 1}"]


def test_a_filter_that_ends_the_process_hides_no_other(check: Check):
    fatal = one("where=lambda event: __import__('os')._exit(5)", function="a")
    code, lines, _ = check(fatal=fatal, last=one("queue=''", function="c"))
    assert code == 1
    assert [line.partition(": ")[0] for line in lines] == ["fatal.py", f"last.py:{LINES + 1}"]
    assert lines[0].endswith("the process ended with 5 while it was loaded")


def test_a_hanging_plugin_hides_no_other(check: Check):
    code, lines, _ = check(
        "--time-limit", "2", hangs="import time\ntime.sleep(60)\n", last=one("queue=''", function="c")
    )
    assert code == 1
    assert [line.partition(": ")[0] for line in lines] == ["hangs.py", f"last.py:{LINES + 1}"]


SETTINGS = """
class Mine(BaseSettings, env_prefix="ACME_CHECK_"):
    url: str = Field(description="where the bills go")
    port: int = 1
    plain: str = Field(validation_alias="ACME_OTHER_NAME")

@handler("acme.mine", settings=Mine)
async def mine(event: Event[SessionUpdate], ctx: Context[Mine]) -> None: ...
"""


def test_missing_settings_are_named_as_variables_and_show_no_value(check: Check, monkeypatch):
    monkeypatch.setenv("ACME_CHECK_PORT", "hunter2")
    code, lines, table = check(mine=SETTINGS)
    assert code == 1
    assert "acme.mine" in table
    said = [line.partition("handler 'acme.mine': ")[2] for line in lines]
    assert "ACME_CHECK_URL is not set; set it in the environment of the workers (where the bills go)" in said
    assert "ACME_OTHER_NAME is not set; set it in the environment of the workers" in said
    assert any(line.startswith("ACME_CHECK_PORT: Input should be a valid integer") for line in said)
    assert "hunter2" not in "".join(lines)
    monkeypatch.setenv("ACME_CHECK_URL", "x")
    monkeypatch.setenv("ACME_CHECK_PORT", "1")
    monkeypatch.setenv("ACME_OTHER_NAME", "x")
    assert check(mine=SETTINGS)[:2] == (0, [])


def install(folder: Path, name: str, version: str, text: str, attribute: str = "") -> None:
    """Write a distribution whose entry point names a module, or one object in it."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(HEAD + text)
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[ampeco_receiver.handlers]\n{module} = {module}{attribute}\n")


def test_two_handlers_of_one_name_are_found_with_both_places(check: Check, tmp_path, monkeypatch):
    for name, version in (("acme-one", "1.0"), ("acme-two", "2.0")):
        install(tmp_path, name, version, one("dry_run=True", function="twin"))
    monkeypatch.syspath_prepend(str(tmp_path))
    code, lines, table = check()
    assert code == 1
    said = "handler 'acme.twin' is in acme-one (1.0) and in acme-two (2.0); names are identities: rename one"
    for line, module in zip(lines, ("acme_one", "acme_two"), strict=True):
        assert line.startswith(f"{module}.py:{LINES + 1}: {said}")
    assert "resend-failed" in table


def test_newer_types_that_are_named_as_such_pass(check: Check):
    text = """
class TicketOpened(Payload):
    notification_types: ClassVar[tuple[str, ...]] = ("ticket.opened",)
"""
    text += one("dry_run=True", "TicketOpened", "a") + one("on=[other('ticket.closed'), '*']", "Raw", "b")
    assert check(mine=text)[:2] == (0, [])


def test_timers_that_are_named_or_annotated_pass(check: Check):
    text = one("on=['*', 'receiver.timer']", "Raw", "a") + one("dry_run=True", "SessionUpdate | Timer", "b")
    assert check(mine=text)[:2] == (0, [])


# -- with a log


async def _seen(url: str, prefix: str) -> None:
    @handler("acme.mail", on=["SessionUpdateNotification", "cdr.received"], order="entity")
    async def mail(event: Event[Raw], ctx: Context) -> None: ...

    @handler("acme.stuck", isolation="process")
    async def stuck(event: Event[SessionUpdate | Timer], ctx: Context) -> None: ...

    async with opened(url, prefix) as log:
        await log.declare([declaration(mail), declaration(stuck)])


@pytest.fixture
def with_log(capsys, monkeypatch, valkey, prefix, tmp_path: Path) -> Cli:
    """A log that knows `acme.mail`, and `acme.stuck` with timers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    asyncio.run(_seen(valkey.url, prefix))
    return Cli(capsys, monkeypatch, valkey.url, prefix)


def test_a_renamed_handler_that_loses_its_once_only_steps_is_found(with_log: Cli, tmp_path: Path):
    same = "on=['SessionUpdateNotification', 'cdr.received']"
    (tmp_path / "mine.py").write_text(HEAD + one(same, "Raw", "mails"))
    code, out, _ = with_log("handlers", "check", "mine.py", "--json")
    assert code == 1
    (fault,) = json.loads(out)["faults"]
    assert fault["where"] == f"mine.py:{LINES + 1}"
    assert "it loses its position and its once-only steps" in fault["error"]
    assert "`handlers rename acme.mail acme.mails` keeps them" in fault["error"]

    (tmp_path / "other.py").write_text(
        HEAD + one(same, "Raw", "invoices") + one("dry_run=True", function="mails")
    )
    assert with_log("handlers", "check", "other.py")[0] == 0


def test_a_renamed_handler_with_timers_is_found(with_log: Cli, tmp_path: Path):
    plugin, timed = tmp_path / "mine.py", "SessionUpdate | Timer"
    plugin.write_text(HEAD + one("isolation='process'", timed, "stucks"))
    code, _, err = with_log("handlers", "check", "mine.py")
    assert (code, "`handlers rename acme.stuck acme.stucks` keeps them" in err) == (1, True)
    with_log("handlers", "rename", "acme.stuck", "acme.stucks", "--yes")
    assert with_log("handlers", "check", "mine.py")[::2] == (0, "")

    plugin.write_text(HEAD + one("isolation='process', on=['*']", "Raw", "stucks"))
    said = "handler 'acme.stucks': no longer wants receiver.timer: such events that still wait"
    assert said in with_log("handlers", "check", "mine.py")[2]


def test_another_key_is_a_fault(with_log: Cli, tmp_path: Path):
    by_evse = (
        "\ndef by_evse(event: Event[HardwareStatus]) -> str | None:\n    return event.payload.evse_id\n\n"
    )
    keyed = one("key=by_evse", "HardwareStatus", "mail")
    (tmp_path / "mine.py").write_text(HEAD + by_evse + keyed)
    code, _, err = with_log("handlers", "check", "mine.py")
    assert (code, "key= was not set and is '" in err, ".by_evse': the once-only steps" in err) == (
        1,
        True,
        True,
    )


def test_what_else_a_deploy_changes_is_a_note_and_no_fault(with_log: Cli, tmp_path: Path, monkeypatch):
    (tmp_path / "mine.py").write_text(HEAD + one("order='latest', queue='bulk'", function="mail"))
    code, _, err = with_log("handlers", "check", "mine.py")
    assert code == 0
    assert [line.partition(": ")[2].partition("'acme.mail': ")[2][:24] for line in err.splitlines()] == [
        "no longer wants cdr.rece",
        "order= was 'entity' and ",
        "queue= was 'default': it",
    ]
    monkeypatch.setenv("AWR_QUEUE_OF", "acme.mail=default")
    assert "queue=" not in with_log("handlers", "check", "mine.py")[2]


def test_without_an_answer_of_the_log_plugins_are_checked_all_the_same(with_log: Cli, tmp_path, monkeypatch):
    monkeypatch.setenv("AWR_REDIS_URL", "unix:///missing.sock")
    (tmp_path / "mine.py").write_text(HEAD + one("dry_run=True", function="mail"))
    code, out, err = with_log("handlers", "check", "mine.py")
    assert (code, "acme.mail" in out) == (0, True)
    assert err.startswith("note: nothing was compared with the log: AWR_REDIS_URL")


def test_a_handler_that_no_name_stands_for_is_found(check: Check):
    twice = one("strict=False") + one("strict=False").replace("acme.h", "acme.second")
    code, lines, table = check(twice=twice)
    assert code == 1
    (line,) = lines
    assert line.startswith(
        f"twice.py:{LINES + 1}: handler 'acme.h' does not run: no name in the plugin's module"
    )
    assert "acme.second" in table


def test_a_handler_of_a_module_that_is_only_imported_is_found(check: Check, tmp_path: Path):
    (tmp_path / "inner.py").write_text(HEAD + one("strict=False", function="inner"))
    code, lines, _ = check(outer="import inner\n" + one("strict=False"))
    assert (code, len(lines)) == (1, 1)
    assert "handler 'acme.inner' does not run" in lines[0]


def test_an_entry_point_may_name_one_handler_of_a_module(check: Check, tmp_path: Path, monkeypatch):
    both = one("strict=False", function="named") + one("strict=False", function="left_out")
    install(tmp_path, "acme-chosen", "1.0", both.replace("left_out'", "left-out'"), ":named")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, lines, table = check()
    assert (code, lines) == (0, [])
    assert "acme.named" in table
    assert "acme.left-out" not in table
