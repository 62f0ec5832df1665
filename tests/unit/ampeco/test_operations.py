"""The table of operations, and the modules whose twins are made from their text."""

import subprocess
import sys

import pytest

from ampeco.generator.facts import PACKAGE, facts, formatted
from ampeco.generator.twins import synchronous
from ampeco.operations import OPERATIONS, VERSIONS

_IMPORTED = """
import ampeco.client, ampeco.notifications
from ampeco.operations import OPERATIONS, VERSIONS, table

assert table._rows.cache_info().currsize == 0, "the table was read by an import"
OPERATIONS["charge-point.reset"]
assert len(VERSIONS._made) == 1, "more operations were made than asked for"
"""


def test_an_import_reads_no_table_and_a_call_makes_one_operation() -> None:
    """Every command and every worker imports the clients, and most of them call little."""
    subprocess.run([sys.executable, "-c", _IMPORTED], check=True)


def test_without_a_version_it_is_one_that_the_contract_has_then_the_newest_that_is_not_deprecated() -> None:
    published = facts("contract.json")["operations"]
    for name, chosen in OPERATIONS.items():
        versions = {version: VERSIONS[name, version] for named, version in VERSIONS if named == name}
        known = {v for v, each in versions.items() if f"{each.method} {each.path}" in published} or set(
            versions
        )
        usable = {v for v in known if not versions[v].deprecated} or known
        assert chosen.version == max(usable, key=lambda v: tuple(map(int, v.split(".")))), name
        assert chosen is versions[chosen.version]


def test_what_does_not_exist_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        OPERATIONS["charge-point.fly"]
    with pytest.raises(KeyError):
        VERSIONS["charge-point.reset", "9.9"]
    assert "charge-point.fly" not in OPERATIONS
    assert ("charge-point.reset", "1.0") in VERSIONS
    assert len(VERSIONS) > len(OPERATIONS) > 73


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ("actions/asynchronous.py", "actions/synchronous.py"),
        ("resources/asynchronous.py", "resources/synchronous.py"),
        ("async_client.py", "sync_client.py"),
        ("async_endpoints.py", "endpoints.py"),
        ("resources/async_mixins.py", "resources/mixins.py"),
    ],
)
def test_a_synchronous_module_is_the_async_one_by_one_transformation(source: str, twin: str) -> None:
    text = formatted(PACKAGE / twin, synchronous((PACKAGE / source).read_text()))
    assert _code(text) == _code((PACKAGE / twin).read_text())
    for word in ("async def", "await ", "Async"):
        assert word not in text


def _code(text: str) -> str:
    """Without the module's docstring, in which a hand-written module names its twin."""
    return text.split('"""', 2)[2]
