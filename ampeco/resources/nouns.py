"""What every generated class of resources has: somebody who carries out calls, and somebody who walks lists."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol, TypeVar

from ampeco.listing import Listing
from ampeco.methods import AsyncRun, Run

T = TypeVar("T")


class AsyncWalk(Protocol):
    """Asks for one page of a list after the other."""

    def __call__(self, listing: Listing[T], /) -> AsyncIterator[T]:
        """Its entries; the next page is asked for when somebody wants more."""


class Walk(Protocol):
    """As `AsyncWalk`, for code that is not async."""

    def __call__(self, listing: Listing[T], /) -> Iterator[T]:
        """Its entries; the next page is asked for when somebody wants more."""


class AsyncNoun:
    """A resource or a kind of logs."""

    def __init__(self, run: AsyncRun, walk: AsyncWalk) -> None:
        self._run = run
        self._walk = walk


class Noun:
    """A resource or a kind of logs, for code that is not async."""

    def __init__(self, run: Run, walk: Walk) -> None:
        self._run = run
        self._walk = walk
