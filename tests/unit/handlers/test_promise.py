"""The contract version, deprecations where an author sees them, and a conformance suite of that version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import handlers
from handlers import CONTRACT_VERSION, Context, Event, Raw, handler, promise
from handlers.discovery import discover
from handlers.promise import HandlerDeprecation, deprecate, fault_of_contract
from handlers.testing import conformance

PAGE = Path(handlers.__file__).with_name("PROMISE.md")
FIRST = {
    *(
        "Backoff",
        "Context",
        "Event",
        "FieldMisfit",
        "GiveUp",
        "Handler",
        "HandlerError",
        "Raw",
        "Retry",
        "Skip",
    ),
    *("StepUncertain", "SyncContext", "Unavailable", "handler", "other"),
}
"""The names of contract 1.0."""
TEXT = "old_name is deprecated since contract 1.1 and goes in 2.0: use new_name"
PLUGIN = """
from handlers import Context, Event, Raw, handler
from handlers.promise import deprecate

for _ in range(3):
    deprecate("old_name", since="1.1", removed_in="2.0", instead="new_name")

@handler("p", on=["*"])
async def p(event: Event[Raw], ctx: Context) -> None: ...
"""


@handler("h", on=["*"])
async def h(event: Event[Raw], ctx: Context) -> None: ...


def deprecated() -> None:
    deprecate("old_name", since="1.1", removed_in="2.0", instead="new_name")


def test_the_page_names_this_version_and_every_one_before():
    versions = re.findall(r"^\| (\d+\.\d+) \|", PAGE.read_text(), re.MULTILINE)
    major, minor = map(int, CONTRACT_VERSION.split("."))
    assert versions == [f"{major}.{number}" for number in range(minor, -1, -1)]


def test_a_use_outside_of_loading_is_a_warning_at_the_authors_line():
    with pytest.warns(HandlerDeprecation, match=re.escape(TEXT)) as caught:
        deprecated()
    assert caught[0].filename == __file__


def test_loading_collects_the_uses_of_each_plugin_once(tmp_path):
    old, new = str(tmp_path / "old.py"), str(tmp_path / "new.py")
    Path(old).write_text(PLUGIN)
    Path(new).write_text(re.sub(r"^for.*\n.*\n", "", PLUGIN.replace('"p"', '"q"'), flags=re.MULTILINE))
    found = discover(load=[old, new])
    assert found.deprecated == {old: [f"{old}:6: {TEXT}"]}
    assert [item.handler.name for item in found.found if item.source in (old, new)] == ["p", "q"]
    assert not found.faults


def test_the_number_of_uses_is_bounded(tmp_path):
    file = tmp_path / "p.py"
    file.write_text(PLUGIN.replace("range(3)", "range(3000)").replace('"old_name"', 'f"old_{_}"'))
    (uses,) = discover(load=[str(file)]).deprecated.values()
    assert len(uses) == 100


@pytest.mark.parametrize("version", ["1.0", CONTRACT_VERSION])
def test_versions_that_are_kept(version: str):
    assert fault_of_contract(version) is None


@pytest.mark.parametrize("version", ["2.0", "0.9", "1.999", "1", "one", "", 1.1, None])
def test_versions_that_are_not(version: object):
    assert fault_of_contract(version)
    with pytest.raises(ValueError, match="contract"):
        conformance(h, contract=version)  # type: ignore[arg-type]


def test_tests_that_came_later_are_skipped_for_an_older_plugin():
    older, same = conformance(h, contract="1.0"), conformance(h)
    (case,) = older.pytestmark[0].args[1][0].values  # type: ignore[attr-defined]
    with pytest.raises(
        pytest.skip.Exception, match=r"came with contract 1\.1; the plugin is written for 1\.0"
    ):
        older().test_makes_keys(case)
    same().test_makes_keys(case)


def test_a_key_that_fails_for_a_sample_fails_its_conformance():
    @handler("k", on=["*"], key=lambda event: event.payload.data["no such field"])
    async def keyed(event: Event[Raw], ctx: Context) -> None: ...

    made = conformance(keyed)
    (case,) = made.pytestmark[0].args[1][0].values  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="key= raised KeyError"):
        made().test_makes_keys(case)


def test_the_names_of_the_contract_are_there():
    assert promise.CONTRACT_VERSION == handlers.CONTRACT_VERSION
    assert all(hasattr(handlers, name) for name in handlers.__all__)


def test_the_page_names_what_came_after_the_first_version():
    (brought,) = re.findall(r"^\| 1\.1 \|(.*)$", PAGE.read_text(), re.MULTILINE)
    newer = {*handlers.__all__} - FIRST
    assert {*handlers.__all__} > FIRST
    assert {name for name in newer if f"`{name}`" not in brought} == set()
