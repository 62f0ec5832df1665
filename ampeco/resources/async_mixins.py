"""What a resource can do, for async code: a mixin for each of list, read, create, update and delete.

Their type parameters are what AMPECO answers (`T`), what is written (`Sent`), the versions in which that is so,
and one `Id` for each id in the path. A mixin called versioned has a second group for older versions, in which the
resource has another shape. Ids come first, by position, in the order of the path.

`ampeco/resources/mixins.py` is made from this file (`make generate`).
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, TypeVarTuple, overload

from ampeco.calls import Call
from ampeco.endpoints import AsyncRun
from ampeco.listing import PER_PAGE, Listing
from ampeco.operations import Id
from ampeco.resources import requests
from ampeco.resources.requests import NOT_GIVEN, Free

T = TypeVar("T")
Old = TypeVar("Old")
Sent = TypeVar("Sent")
OldSent = TypeVar("OldSent")
Version = TypeVar("Version", bound=str)
OldVersion = TypeVar("OldVersion", bound=str)
N = TypeVar("N")
Created = TypeVar("Created")
Updated = TypeVar("Updated")
Ids = TypeVarTuple("Ids")

Filters = Mapping[str, Any] | None
Query = Mapping[str, Any] | None


class AsyncWalk(Protocol):
    """Requests one page of a list after the other."""

    def __call__(self, listing: Listing[T], /) -> AsyncIterator[T]:
        """Its entries. The next page is requested when the caller wants more."""


class AsyncNoun:
    """A resource or a kind of logs."""

    _name = ""

    def __init__(self, run: AsyncRun, walk: AsyncWalk, name: str = "") -> None:
        self._run = run
        self._walk = walk
        self._name = name or self._name


class AsyncChild(cached_property[N]):
    """A noun below another one; made when it is first used. Its name in the table is that of the attribute."""

    def __init__(self, kind: Callable[[AsyncRun, AsyncWalk, str], N]) -> None:
        def made(parent: AsyncNoun) -> N:
            name = f"{parent._name}.{self.attrname}".replace("_", "-")  # noqa: SLF001 - the same family
            return kind(parent._run, parent._walk, name)  # noqa: SLF001

        super().__init__(made)


class AsyncLister(AsyncNoun, Generic[T, Version, *Ids]):
    """Has a list."""

    def list(
        self,
        *ids: *Ids,
        filters: Filters = None,
        include: Sequence[str] = (),
        query: Query = None,
        per_page: int = PER_PAGE,
        version: Version | None = None,
    ) -> AsyncIterator[T]:
        """All entries, page by page."""
        return self._walk(
            requests.listing(
                f"{self._name}.list", version, ids, filters, include=include, query=query, per_page=per_page
            )
        )


class AsyncVersionedLister(AsyncNoun, Generic[T, Version, Old, OldVersion, *Ids]):
    """Has a list, whose entries have another shape in older versions."""

    @overload
    def list(
        self,
        *ids: *Ids,
        filters: Filters = None,
        include: Sequence[str] = (),
        query: Query = None,
        per_page: int = PER_PAGE,
        version: Version | None = None,
    ) -> AsyncIterator[T]: ...
    @overload
    def list(
        self,
        *ids: *Ids,
        filters: Filters = None,
        include: Sequence[str] = (),
        query: Query = None,
        per_page: int = PER_PAGE,
        version: OldVersion,
    ) -> AsyncIterator[Old]: ...
    def list(
        self,
        *ids: *Ids,
        filters: Filters = None,
        include: Sequence[str] = (),
        query: Query = None,
        per_page: int = PER_PAGE,
        version: str | None = None,
    ) -> AsyncIterator[Any]:
        """All entries, page by page."""
        return self._walk(
            requests.listing(
                f"{self._name}.list", version, ids, filters, include=include, query=query, per_page=per_page
            )
        )


class AsyncReader(AsyncNoun, Generic[T, Version, *Ids]):
    """Can be read."""

    async def read(
        self, *ids: *Ids, include: Sequence[str] = (), query: Query = None, version: Version | None = None
    ) -> T:
        """One of them, as it is now."""
        call: Call[T] = requests.read(f"{self._name}.read", version, ids, include, query)
        return await self._run(call)


class AsyncVersionedReader(AsyncNoun, Generic[T, Version, Old, OldVersion, *Ids]):
    """Can be read, and has another shape in older versions."""

    @overload
    async def read(
        self, *ids: *Ids, include: Sequence[str] = (), query: Query = None, version: Version | None = None
    ) -> T: ...
    @overload
    async def read(
        self, *ids: *Ids, include: Sequence[str] = (), query: Query = None, version: OldVersion
    ) -> Old: ...
    async def read(
        self, *ids: *Ids, include: Sequence[str] = (), query: Query = None, version: str | None = None
    ) -> Any:
        """One of them, as it is now."""
        return await self._run(requests.read(f"{self._name}.read", version, ids, include, query))


class AsyncCreator(AsyncNoun, Generic[T, Sent, Version, *Ids]):
    """Can be created."""

    @overload
    async def create(
        self, *ids_and_body: *tuple[*Ids, Sent | Free], version: Version | None = None
    ) -> T | None: ...
    @overload
    async def create(self, *ids: *Ids, body: Sent | Free, version: Version | None = None) -> T | None: ...
    async def create(  # type: ignore[misc]  # mypy does not match Any with Ids
        self, *given: Any, body: Any = NOT_GIVEN, version: str | None = None
    ) -> Any:
        """Create one. It is not repeated by itself: a second equal call may create a second one.

        Returns:
            What AMPECO answers, None when it answers nothing.
        """
        return await self._run(requests.write(f"{self._name}.create", version, given, body))


class AsyncVersionedCreator(AsyncNoun, Generic[T, Sent, Version, Old, OldSent, OldVersion, *Ids]):
    """Can be created, and has another shape in older versions."""

    @overload
    async def create(
        self, *ids_and_body: *tuple[*Ids, Sent | Free], version: Version | None = None
    ) -> T | None: ...
    @overload
    async def create(self, *ids: *Ids, body: Sent | Free, version: Version | None = None) -> T | None: ...
    @overload
    async def create(
        self, *ids_and_body: *tuple[*Ids, OldSent | Free], version: OldVersion
    ) -> Old | None: ...
    @overload
    async def create(self, *ids: *Ids, body: OldSent | Free, version: OldVersion) -> Old | None: ...
    async def create(  # type: ignore[misc]  # mypy does not match Any with Ids
        self, *given: Any, body: Any = NOT_GIVEN, version: str | None = None
    ) -> Any:
        """Create one. It is not repeated by itself: a second equal call may create a second one.

        Returns:
            What AMPECO answers, None when it answers nothing.
        """
        return await self._run(requests.write(f"{self._name}.create", version, given, body))


class AsyncUpdater(AsyncNoun, Generic[T, Sent, Version, *Ids]):
    """Can be updated."""

    @overload
    async def update(
        self, *ids_and_body: *tuple[*Ids, Sent | Free], version: Version | None = None
    ) -> T | None: ...
    @overload
    async def update(self, *ids: *Ids, body: Sent | Free, version: Version | None = None) -> T | None: ...
    async def update(  # type: ignore[misc]  # mypy does not match Any with Ids
        self, *given: Any, body: Any = NOT_GIVEN, version: str | None = None
    ) -> Any:
        """Change what the body names.

        Returns:
            What AMPECO answers, None when it answers nothing.
        """
        return await self._run(requests.write(f"{self._name}.update", version, given, body))


class AsyncVersionedUpdater(AsyncNoun, Generic[T, Sent, Version, Old, OldSent, OldVersion, *Ids]):
    """Can be updated, and has another shape in older versions."""

    @overload
    async def update(
        self, *ids_and_body: *tuple[*Ids, Sent | Free], version: Version | None = None
    ) -> T | None: ...
    @overload
    async def update(self, *ids: *Ids, body: Sent | Free, version: Version | None = None) -> T | None: ...
    @overload
    async def update(
        self, *ids_and_body: *tuple[*Ids, OldSent | Free], version: OldVersion
    ) -> Old | None: ...
    @overload
    async def update(self, *ids: *Ids, body: OldSent | Free, version: OldVersion) -> Old | None: ...
    async def update(  # type: ignore[misc]  # mypy does not match Any with Ids
        self, *given: Any, body: Any = NOT_GIVEN, version: str | None = None
    ) -> Any:
        """Change what the body names.

        Returns:
            What AMPECO answers, None when it answers nothing.
        """
        return await self._run(requests.write(f"{self._name}.update", version, given, body))


class AsyncDeleter(AsyncNoun, Generic[Version, *Ids]):
    """Can be deleted."""

    async def delete(self, *ids: *Ids, version: Version | None = None) -> None:
        """Delete one."""
        await self._run(requests.delete(f"{self._name}.delete", version, ids))


class AsyncArchive(
    AsyncLister[T, Version, *Ids], AsyncReader[T, Version, *Ids, Id], Generic[T, Version, *Ids]
):
    """Has a list, and each entry can be read."""


class AsyncRecords(
    AsyncLister[T, Version, *Ids],
    AsyncReader[T, Version, *Ids, Id],
    AsyncCreator[T, Created, Version, *Ids],
    AsyncUpdater[T, Updated, Version, *Ids, Id],
    AsyncDeleter[Version, *Ids, Id],
    Generic[T, Created, Updated, Version, *Ids],
):
    """Has a list, and each entry can be created, read, updated and deleted."""
