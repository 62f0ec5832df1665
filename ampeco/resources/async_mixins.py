"""What a resource can do, for async code: a mixin for each of list, read, create, update and delete.

Their type parameters are what AMPECO answers (`T`), what is written (`Sent`), the versions in which that is so,
and one `Id` for each id in the path. A mixin called versioned has a second group for older versions, in which the
resource has another shape. Ids come first, by position, in the order of the path.

`ampeco/resources/mixins.py` is made from this file (`make generate`).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, TypeVarTuple, overload

from ampeco import calls
from ampeco.async_endpoints import AsyncNoun
from ampeco.calls import NOT_GIVEN, Call, Free
from ampeco.listing import PER_PAGE
from ampeco.operations import Id

T = TypeVar("T")
Old = TypeVar("Old")
Sent = TypeVar("Sent")
OldSent = TypeVar("OldSent")
Version = TypeVar("Version", bound=str)
OldVersion = TypeVar("OldVersion", bound=str)
Created = TypeVar("Created")
Updated = TypeVar("Updated")
Ids = TypeVarTuple("Ids")

Filters = Mapping[str, Any] | None
Query = Mapping[str, Any] | None


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
            calls.listing(
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
            calls.listing(
                f"{self._name}.list", version, ids, filters, include=include, query=query, per_page=per_page
            )
        )


class AsyncReader(AsyncNoun, Generic[T, Version, *Ids]):
    """Can be read."""

    async def read(
        self, *ids: *Ids, include: Sequence[str] = (), query: Query = None, version: Version | None = None
    ) -> T:
        """One of them, as it is now."""
        call: Call[T] = calls.read(f"{self._name}.read", version, ids, include, query)
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
        return await self._run(calls.read(f"{self._name}.read", version, ids, include, query))


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
        return await self._run(calls.write(f"{self._name}.create", version, given, body))


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
        return await self._run(calls.write(f"{self._name}.create", version, given, body))


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
        return await self._run(calls.write(f"{self._name}.update", version, given, body))


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
        return await self._run(calls.write(f"{self._name}.update", version, given, body))


class AsyncDeleter(AsyncNoun, Generic[Version, *Ids]):
    """Can be deleted."""

    async def delete(self, *ids: *Ids, version: Version | None = None) -> None:
        """Delete one."""
        await self._run(calls.delete(f"{self._name}.delete", version, ids))


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
