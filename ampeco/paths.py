"""Places in decoded JSON by dotted paths, each name in AMPECO's spelling or in snake_case; knows no type.

Keys, times and models find their values through here, so they agree about where a value is.
"""

from functools import lru_cache
from typing import Any

Steps = tuple[tuple[str, str], ...]
"""The names on the way to a value, each in AMPECO's spelling and in snake_case."""


@lru_cache(1024)
def snake(name: str) -> str:
    """`chargePointId` -> `charge_point_id`, for the plain names of AMPECO's JSON."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


@lru_cache(1024)
def steps_of(path: str) -> Steps:
    """The steps of a dotted path, e.g. `session.chargePointId`."""
    return tuple((name, snake(name)) for name in path.split("."))


def at(here: Any, steps: Steps) -> object:
    """The value at the end of the steps; None where one of them is missing."""
    for name, snaked in steps:
        if type(here) is not dict:
            return None
        found = here.get(name)
        here = here.get(snaked) if found is None else found
    return here
