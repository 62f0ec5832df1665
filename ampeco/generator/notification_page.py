"""The catalogue -> `ampeco/NOTIFICATIONS.md`, a page for people that lists every notification type."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES, KnownType, time_paths
from ampeco.generator.facts import GENERATED, PACKAGE

PAGE = PACKAGE / "NOTIFICATIONS.md"

_INTRODUCTION = """# Notification types

The types AMPECO is known to send, from `ampeco/catalogue.py`. The model is importable from `ampeco.notifications`.

- *Payload*: how much of it is known. confirmed = names seen in a consumer or in the index of the specification,
  partial = some of them, unknown = nothing but the type string.
- *Carries*: the object in it, and whether that is confirmed, inferred (from the order of components in the
  specification's index) or a guess (the REST resource of that name).
- *Deprecated*: ? where no page that was seen shows the flag. *Superseded by* is inferred, AMPECO does not say so.
- *Entity key*: the first of these ids that is there; others follow (see `FALLBACK`). *Own time*: the first that is
  there of these and, for every type, `lastUpdatedAt`, `updatedAt` and `timestamp` at the top. Any of these names may
  also be in snake_case.

A sample of each is in `tests/samples/`. A new version of a type and its predecessor announce the same change twice:
let a handler ask for one of them."""

_LIKELY = """## Likely types

The index of the specification describes these payloads and does not say which string announces them. The strings
are likely ones; Subscribe is not known to accept them. A third such component (a partner's corporate billing
policy) has neither a string nor a shape."""

_HEADS = (
    "Type",
    "Model",
    "Payload",
    "Carries",
    "Deprecated",
    "Superseded by",
    "Subscribe",
    "Entity key",
    "Own time",
)


def outputs() -> dict[Path, str]:
    """The page."""
    pieces = [f"<!-- {GENERATED} -->", _INTRODUCTION, "", *_table(KNOWN_TYPES), "", _LIKELY, ""]
    return {PAGE: "\n".join([*pieces, *_table(UNCONFIRMED_TYPES), ""])}


def _table(types: Mapping[str, KnownType]) -> Iterator[str]:
    yield f"| {' | '.join(_HEADS)} |"
    yield "|---" * len(_HEADS) + "|"
    for name in sorted(types, key=str.lower):
        yield f"| {' | '.join(_cells(name, types[name]))} |"


def _cells(name: str, known: KnownType) -> Iterator[str]:
    yield f"`{name}`"
    yield f"`{known.model.rpartition('.')[2]}`"
    yield known.confidence
    yield f"{known.embedded or 'no known object'} ({known.embedding})"
    yield {True: "yes", False: "no", None: "?"}[known.deprecated]
    yield ", ".join(f"`{other}`" for other in known.superseded_by)
    yield "accepts it" if known.subscribable else "not known to"
    yield "; ".join(
        f"{entity}: {', '.join(f'`{path}`' for path in paths)}" for entity, paths in known.entities
    )
    general = ("lastUpdatedAt", "updatedAt", "timestamp")
    yield ", ".join(f"`{path}`" for path in time_paths(known) if path not in general)
