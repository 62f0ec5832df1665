"""Names the known name that a misspelled one may mean. Pure; both sides are bounded, as texts come from outside."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

ALIKE = 0.6
"""How alike two names must be, from 0 to 1, for one to be suggested for the other."""

SURELY = 0.9
"""The same where a name may also be newer than this release: a suggestion then means a misspelled name."""

MOST_CHARS = 200
_MOST_KNOWN = 5_000


def nearest(name: str, known: Iterable[str], *, alike: float = ALIKE) -> str | None:
    """Return the known name that is most like this one, upper and lower case apart.

    Args:
        known: names to choose from; of the first 5,000 those that are not longer than `MOST_CHARS` count.
        alike: least likeness, from 0 to 1.

    Returns:
        None where no name is like it, or where it is too long to be one.
    """
    import difflib  # a command that knows every name does not need it

    if not name or len(name) > MOST_CHARS:
        return None
    folded = {each.casefold(): each for each in islice(known, _MOST_KNOWN) if len(each) <= MOST_CHARS}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=alike)
    return folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], *, alike: float = ALIKE) -> str:
    """Return `; did you mean '...'?` for the end of a message; empty where no known name is like it."""
    found = nearest(name, known, alike=alike)
    return "" if found is None else f"; did you mean {found!r}?"
