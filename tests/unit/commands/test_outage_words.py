"""The words for a handler that starts nothing now."""

from __future__ import annotations

import pytest

from commands.outage_words import HandlerState


@pytest.mark.parametrize(
    ("held", "stopped", "text"),
    [
        (0, 0, "running"),
        (2, 0, "running; lanes that have too much open: 2"),
        (0, 1, "running; lanes that stop at what cannot be read: 1"),
    ],
)
def test_lanes_that_stop_are_not_said_to_have_too_much_open(held: int, stopped: int, text: str) -> None:
    assert HandlerState(None, None, held, stopped).text == text
