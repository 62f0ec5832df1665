"""The conformance suite: one line in a test file makes a test for each situation that handlers must survive."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterable
from typing import Any

from pydantic_settings import BaseSettings

from handlers.declaration import Handler
from handlers.discovery import handlers_in
from handlers.event import Event
from handlers.promise import CONTRACT_VERSION, fault_of_contract, number_of
from handlers.testing import conformance_checks as checks
from handlers.testing.conformance_case import Case
from handlers.testing.delivery import NOT_GIVEN
from handlers.testing.fake_ampeco import FakeAmpeco


def conformance(
    *tested: Handler | str,
    settings: Any = NOT_GIVEN,
    state: Callable[[], Any] | None = None,
    ampeco: Callable[[], FakeAmpeco] | None = None,
    effects: Callable[[Any], Any] | None = None,
    events: Iterable[Event[Any]] = (),
    contract: str = CONTRACT_VERSION,
) -> type:
    """Make a class of tests: `TestConformance = conformance("acme.handlers")`.

    Args:
        tested: handlers, or the names of modules with handlers.
        settings: their settings, or a list of them for handlers with several classes; what is not given is read
            from the environment.
        state: makes, for each delivery, what their `lifespan` would yield; the lifespan is entered unless given.
        ampeco: makes the pretend tenant; one in which every object exists unless given.
        effects: says of a state what it has done so far, as a value to compare: letters sent, rows written.
        events: further events, for types without a sample, and of the kind that the handler acts on.
        contract: the version that they were written for (`handlers.CONTRACT_VERSION`): tests that came later are
            skipped. This version unless given.

    Raises:
        ValueError: this release does not keep the promises of that version.
    """
    import pytest

    if fault := fault_of_contract(contract):
        raise ValueError(fault)
    more = tuple(events)  # each handler sees all of them, also those of a generator
    cases = [
        Case(
            each,
            settings=_settings_of(each, settings),
            state=state,
            ampeco=ampeco or (lambda: FakeAmpeco(unknown="example")),
            effects=effects,
            events=tuple(event for event in more if each.model_of(event.type) is not None),
        )
        for each in _handlers(tested)
    ]

    def since(version: str) -> None:
        if number_of(version) > number_of(contract):
            pytest.skip(f"came with contract {version}; the plugin is written for {contract}")

    @pytest.mark.parametrize("case", [pytest.param(case, id=case.handler.name) for case in cases])
    class Conformance:
        def test_takes_every_sample(self, case: Case) -> None:
            asyncio.run(checks.takes_every_sample(case))

        def test_takes_every_variant(self, case: Case) -> None:
            asyncio.run(checks.takes_every_variant(case))

        def test_takes_unknown_fields(self, case: Case) -> None:
            asyncio.run(checks.takes_unknown_fields(case))

        def test_takes_odd_fields(self, case: Case) -> None:
            asyncio.run(checks.takes_odd_fields(case))

        def test_takes_events_backwards(self, case: Case) -> None:
            asyncio.run(checks.takes_events_backwards(case))

        def test_does_it_once(self, case: Case) -> None:
            asyncio.run(checks.does_it_once(case))

        def test_does_not_block(self, case: Case) -> None:
            if not case.handler.is_async:
                pytest.skip("a def handler runs in a thread of its own")
            try:
                asyncio.run(checks.does_not_block(case))
            except ModuleNotFoundError as error:
                pytest.fail(f'{error}: install "ampeco-receiver[test]"')

        def test_is_dry(self, case: Case) -> None:
            asyncio.run(checks.is_dry(case))

        def test_documents_its_settings(self, case: Case) -> None:
            checks.documents_its_settings(case)

        def test_makes_keys(self, case: Case) -> None:
            since("1.1")
            checks.makes_keys(case)

    return Conformance


def _handlers(tested: Iterable[Handler | str]) -> list[Handler]:
    found: list[Handler] = []
    for each in tested:
        found += handlers_in(importlib.import_module(each), each) if isinstance(each, str) else [each]
    return list(dict.fromkeys(found))


def _settings_of(tested: Handler, given: Any) -> Any:
    """Return what is given to one handler: settings of another handler's class are not its own."""
    if tested.settings is None or given is NOT_GIVEN:
        return given
    for one in given if isinstance(given, list | tuple) else (given,):
        if isinstance(one, tested.settings) or not isinstance(one, BaseSettings):
            return one  # a test may give a stand-in of a class of its own
    return NOT_GIVEN
