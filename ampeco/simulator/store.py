"""Objects of every resource of the API, in memory: what the fleet shows, overlaid by what callers wrote.

A collection is named by its path without versions, owners included: ("users", "5001", "notes"). Documents are
plain mappings; the store knows no schemas.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ampeco.simulator.model import Refused

Document = dict[str, Any]
Path = tuple[str, ...]

MADE_IDS_FROM = 2_000_001
"""First id of objects that callers create, apart from the fleet's own; other collections count from 1."""


class Source(Protocol):
    """Objects that exist without having been created by a call."""

    def knows(self, noun: str) -> bool:
        """Whether it is the one that makes them."""

    def ids(self, path: Sequence[str]) -> Sequence[int | str]:
        """The ids of a collection, in order."""

    def read(self, path: Sequence[str], id_: str) -> Document | None:
        """One of a collection."""


class Store:
    """The objects.

    Args:
        source: the fleet's.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._written: dict[Path, dict[str, Document]] = {}
        self._removed: dict[Path, set[str]] = {}
        self._singles: dict[Path, Any] = {}
        self._last_ids: dict[Path, int] = {}

    def ids(self, path: Path) -> list[str]:
        """The ids of a collection: the fleet's first, then what was created, in its order."""
        own = dict.fromkeys(map(str, self._source.ids(path)))
        own.update(dict.fromkeys(self._written.get(path, ())))
        return [id_ for id_ in own if id_ not in self._removed.get(path, ())]

    def read(self, path: Path, id_: str) -> Document:
        """One object.

        Raises:
            Refused: 404.
        """
        found = self._find(path, id_)
        if found is None:
            raise Refused(404, "There is no such resource.")
        return found

    def knows(self, noun: str) -> bool:
        """Whether an unknown id of this noun is a mistake."""
        return self._source.knows(noun)

    def has(self, path: Path, id_: str) -> bool:
        """Whether there is such an object."""
        return self._find(path, id_) is not None

    def check_owners(self, path: Path) -> None:
        """Check that the objects that own the collection exist, as far as that is known.

        Raises:
            Refused: 404.
        """
        for at in range(0, len(path) - 2, 2):
            owners, id_ = path[: at + 1], path[at + 1]
            if (self._source.knows(owners[0]) or owners in self._last_ids) and not self.has(owners, id_):
                raise Refused(404, "There is no such resource.")

    def create(self, path: Path, given: Mapping[str, Any]) -> Document:
        """A new object; a given id is ignored, and no id that was ever in use is given again."""
        fed = bool(self._source.ids(path)) or self._source.knows(path[-1])
        id_ = self._last_ids.get(path, MADE_IDS_FROM - 1 if fed else 0) + 1
        while self.has(path, str(id_)) or str(id_) in self._removed.get(path, ()):
            id_ += 1  # `put` may have seeded it
        self._last_ids[path] = id_
        made = {**given, "id": id_}
        self._written.setdefault(path, {})[str(id_)] = made
        return made

    def update(self, path: Path, id_: str, given: Mapping[str, Any], *, replaces: bool) -> Document:
        """Change some members of an object, or all but its id; one with a name instead of a number is created.

        Raises:
            Refused: 404.
        """
        named = {"id": id_} if not id_.isdecimal() else None
        before = self._find(path, id_) or named or self.read(path, id_)
        changes = {name: value for name, value in given.items() if name != "id"}
        kept = {"id": before["id"]} if replaces or named else self._written.get(path, {}).get(id_, {})
        self._written.setdefault(path, {})[id_] = {**kept, **changes}
        if replaces:
            return self._written[path][id_]
        return {**before, **changes}

    def put(self, path: Path, id_: str, given: Mapping[str, Any]) -> Document:
        """Seed an object: create it under this id, or change some of its members."""
        self._removed.get(path, set()).discard(id_)
        number = int(id_) if id_.isascii() and id_.isdecimal() else id_
        before = self._written.get(path, {}).get(id_, {"id": number})
        made = self._written.setdefault(path, {})[id_] = {**before, **given}
        return made

    def delete(self, path: Path, id_: str) -> None:
        """Remove an object.

        Raises:
            Refused: 404.
        """
        self.read(path, id_)
        self._written.get(path, {}).pop(id_, None)
        self._removed.setdefault(path, set()).add(id_)

    def single(self, path: Path) -> Any:
        """A document that is alone at its path, e.g. ("circuits", "1", "schedule"); empty at first."""
        return self._singles.get(path, {})

    def set_single(self, path: Path, document: Any) -> None:
        """Replace a document that is alone at its path; None removes it."""
        if document is None:
            self._singles.pop(path, None)
        else:
            self._singles[path] = document

    def _find(self, path: Path, id_: str) -> Document | None:
        if id_ in self._removed.get(path, ()):
            return None
        shown, written = self._source.read(path, id_), self._written.get(path, {}).get(id_)
        if shown is None and written is None:
            return None
        return {**(shown or {}), **(written or {})}
