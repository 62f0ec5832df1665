"""Handlers are found where they are declared, and every fault of a plugin is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.discovery import discover

GOOD = """
from handlers import Context, Event, Raw, handler

@handler("{name}", on=["*"])
async def h(event: Event[Raw], ctx: Context) -> None: ...
"""


def plugin(folder: Path, file: str, text: str) -> str:
    path = folder / file
    path.write_text(text)
    return str(path)


def names(**options: object) -> list[str]:
    return [item.handler.name for item in discover(**options).found]  # type: ignore[arg-type]


def test_built_in_handlers_come_with_the_distribution():
    assert names() == ["resend-failed"]


def test_demo_handlers_run_only_when_they_are_named():
    assert names(load=["handlers.builtin.demo_journal"]) == ["demo.journal", "resend-failed"]


def test_a_file_is_a_plugin_and_its_text_is_its_version(tmp_path: Path):
    path = plugin(tmp_path, "mine.py", GOOD.format(name="mine"))
    (first,) = discover(load=[path], allow=["mine"]).found
    plugin(tmp_path, "mine.py", GOOD.format(name="mine") + "# changed\n")
    (second,) = discover(load=[path], allow=["mine"]).found
    assert first.version != second.version


def test_the_allow_list_keeps_everything_else_out():
    assert names(load=["handlers.builtin.demo_journal"], allow=["demo.journal"]) == ["demo.journal"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("x = 1", "has no handler in it"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_faulty_plugin_is_named_and_the_others_run(tmp_path: Path, text: str, says: str):
    path = plugin(tmp_path, "broken.py", text)
    found = discover(load=[path])
    assert [item.handler.name for item in found.found] == ["resend-failed"]
    (fault,) = found.faults
    assert fault.source == path
    assert says in fault.message


def test_a_deployment_may_put_a_handler_into_another_queue(tmp_path: Path):
    path = plugin(tmp_path, "mine.py", GOOD.format(name="mine"))
    (found,) = discover(load=[path], allow=["mine"], queue_of={"mine": "letters", "yours": "x"}).found
    assert found.handler.queue == "letters"
    assert found.version == discover(load=[path], allow=["mine"]).found[0].version


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path):
    (fault,) = discover(load=[str(tmp_path / "missing.py")]).faults
    assert "no such file" in fault.message


def test_two_handlers_of_one_name_are_both_refused_and_the_others_run(tmp_path: Path):
    second = GOOD.format(name="{name}-more").replace("def h", "def other")
    twins = [
        plugin(tmp_path, f"{name}.py", GOOD.format(name="twin") + second.format(name=name))
        for name in ("a", "b")
    ]
    found = discover(load=twins)
    assert [item.handler.name for item in found.found] == ["a-more", "b-more", "resend-failed"]
    assert [(fault.source, fault.reason, fault.handler) for fault in found.faults] == [
        (path, "name-clash", "twin") for path in twins
    ]
    assert all(twin in fault.message for fault in found.faults for twin in twins)
    assert found.faults[0].place.startswith(f"{twins[0]}:")


def test_a_built_in_handler_keeps_its_name(tmp_path: Path):
    path = plugin(tmp_path, "mine.py", GOOD.format(name="resend-failed"))
    found = discover(load=[path])
    assert [(item.handler.name, item.source) for item in found.found] == [
        ("resend-failed", "ampeco-receiver")
    ]
    (fault,) = found.faults
    assert (fault.source, fault.reason) == (path, "name-clash")
    assert "the built-in one stays" in fault.message


def test_a_fault_names_the_line_of_the_plugin(tmp_path: Path):
    path = plugin(tmp_path, "broken.py", "x = 1\nraise RuntimeError('no')\n")
    (fault,) = discover(load=[path]).faults
    assert (fault.reason, fault.error, fault.place) == ("not-loaded", "RuntimeError", f"{path}:2")


def test_the_file_of_an_installed_plugin_is_no_second_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`dev src/acme/handlers.py` after `pip install -e .`: the entry point has imported that file already."""
    path = plugin(tmp_path, "acme_installed.py", GOOD.format(name="acme.installed"))
    info = tmp_path / "acme_installed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-installed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ampeco_receiver.handlers]\nacme = acme_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = discover(allow=["acme.installed"]).found
    assert found.source == "acme-installed"
    (found,) = discover(load=[path], allow=["acme.installed"]).found
    assert found.source == path


def test_a_handler_that_a_module_imports_from_another_is_the_same_handler(tmp_path: Path):
    again = plugin(tmp_path, "again.py", "from handlers.builtin.demo_journal import journal\n")
    assert names(load=["handlers.builtin.demo_journal", again], allow=["demo.journal"]) == ["demo.journal"]


def test_a_plugins_settings_are_told_without_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACME_PORT", "hunter2")
    text = "from pydantic_settings import BaseSettings\nclass S(BaseSettings, env_prefix='ACME_'):\n    port: int\n"
    text += "S()\n"
    (fault,) = discover(load=[plugin(tmp_path, "s.py", text)]).faults
    assert "ACME_PORT" in fault.message
    assert "hunter2" not in fault.message
