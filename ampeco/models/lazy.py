"""Models by name, imported on first use; knows no model.

A process that handles sessions should not pay for tariffs. A class costs about 0.1 ms to make, and a hundred of them
more than everything else that is imported here.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


class LazyModels(Mapping[str, type[M]]):
    """A read-only mapping of names to models that are imported at first use.

    Args:
        base: what every model is a subclass of.
        places: name -> module of the class of that name, or `module:class` where the names differ.
    """

    def __init__(self, base: type[M], places: Mapping[str, str]) -> None:
        self._base = base
        self._places = places
        self._found: dict[str, type[M]] = {}

    def __getitem__(self, name: str) -> type[M]:
        found = self._found.get(name)
        if found is None:
            module, _, attribute = self._places[name].partition(":")
            found = getattr(import_module(module), attribute or name)
            assert issubclass(found, self._base)  # noqa: S101 - the places are ours
            self._found[name] = found
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<LazyModels {len(self)} names>"
