"""The catalogue of log events names every line that the rooms write, and no other."""

from pathlib import Path

import pytest

from tests.meta import log_events


def test_the_catalogue_is_what_the_code_writes() -> None:
    assert dict(log_events.catalogued()) == log_events.written()


def test_the_catalogue_is_in_order_and_names_nothing_twice() -> None:
    events = [event for event, _ in log_events.catalogued()]
    assert events == sorted(set(events))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('_log.info("endpoint.opened", pid=1)', [("endpoint.opened", "info", "receiver")]),
        ('self._log.exception("drain.failed")', [("drain.failed", "error", "receiver")]),
        ('get_logger(__name__).error("store.ended")', [("store.ended", "error", "receiver")]),
        ('redis.info("memory")', []),
        ("task.exception()", []),
    ],
)
def test_log_lines_are_found(source: str, found: list[log_events.Line]) -> None:
    assert list(log_events.lines_in(source, Path("receiver/a.py"))) == found


@pytest.mark.parametrize("argument", ["name", '"opened"', 'f"door.{verb}"', '"door " + verb'])
def test_a_name_that_no_catalogue_can_hold_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=r"receiver/a\.py:1"):
        list(log_events.lines_in(f"_log.info({argument})", Path("receiver/a.py")))
