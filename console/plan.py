"""The plan of an act, as its page shows it before the button."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode


@dataclass(frozen=True)
class Plan:
    """One act that has not been carried out yet.

    Attributes:
        title: what is to be done.
        action: path that the form is sent to.
        button: text of its button.
        back: path of the page before.
        facts: name and value of what it is about.
        sentences: what it costs, and what stands against it.
        selection: what the form sends, so that the act is about what was shown; `selection_of` in `acts.py` reads it.
        samples: text and path of some that it is about.
        deletes: it cannot be undone.
        is_empty: there is nothing to do, so there is no button.
    """

    title: str
    action: str
    button: str
    back: str
    facts: Sequence[tuple[str, object]]
    sentences: Sequence[str] = ()
    selection: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence[tuple[str, str]] = ()
    deletes: bool = False
    is_empty: bool = False

    @property
    def sent(self) -> str:
        """Return the selection as one field of a form."""
        return urlencode(self.selection)
