"""What an act would do, as its page shows it before the button, and the selection that its form sends back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from console.page import Problem


@dataclass(frozen=True)
class Plan:
    """One act that was not carried out yet.

    Attributes:
        title: what is to be done.
        action: path that the form is sent to.
        button: text of its button.
        back: path of the page before.
        facts: name and value of what it is about.
        sentences: what it costs, and what stands against it.
        selection: what the form sends, so that the act is about what was shown; `selection_of` reads it.
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


def selection_of(form: Mapping[str, str], names: Sequence[str], *, needs: Sequence[str]) -> dict[str, str]:
    """Return what the form of a plan selects; a name that it does not have is empty.

    Raises:
        Problem: it lacks one that every plan gives, so no plan was shown.
    """
    try:
        sent = dict(parse_qsl(form.get("selection", ""), max_num_fields=len(names)))
    except ValueError:
        sent = {}
    if not all(sent.get(name) for name in needs):
        raise Problem(400, "no-plan", "Open the plan first. Nothing was changed.")
    return {name: sent.get(name, "") for name in names}
