"""Checks of the settings and keys, before anything is connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from commands.doctor.finding import Finding, fault, ok, warn

if TYPE_CHECKING:
    from commands.doctor.deployment import Deployment
    from receiver.errors import SettingsError
    from receiver.settings import Settings

_KEYS = ("AWR_API_TOKEN", "AWR_SIGNING_KEYS", "AWR_API_TOKEN_NEXT")


def usable(environ: Mapping[str, str]) -> tuple[Settings, tuple[SettingsError, ...]]:
    """Read the settings without the refused ones; return the faults of these too."""
    from receiver.errors import SettingsError
    from receiver.settings import load

    refused: dict[str, SettingsError] = {}
    while True:
        try:
            return load(environ, without=refused.keys()), tuple(refused.values())
        except SettingsError as error:
            if error.setting in refused:
                raise
            refused[error.setting] = error


async def settings(about: Deployment) -> Finding:
    """Is every setting one that a start accepts, and is none missing?"""
    from receiver.errors import SettingsError
    from receiver.settings import demand, serving_needs

    wrong = [error for error in about.refused if error.setting not in _KEYS]
    known = {error.setting for error in about.refused}
    for name in serving_needs(about.settings):
        try:
            if name not in known and name not in (*_KEYS, "AWR_REDIS_URL"):  # other checks are about these
                demand(about.settings, (name,))
        except SettingsError as error:
            wrong.append(error)
    if not wrong and (doubts := _doubts(about.settings)):
        return warn(
            "; ".join(doubts), "correct the name; a type that is newer than this release needs nothing"
        )
    if not wrong:
        given = sum(1 for name in about.environ if name.startswith("AWR_"))
        return ok(f"{given} are set in the environment; `settings` shows all")
    return _refused(wrong)


async def keys(about: Deployment) -> Finding:
    """Is there a key, is each one free of quotes, blanks, BOM and the word Bearer, and too long to be guessed?"""
    wrong = [error for error in about.refused if error.setting in _KEYS]
    if wrong:
        return _refused(wrong)
    accepted = [key.key_id for key in about.settings.accepted_keys]
    if not accepted:
        return fault(
            "no signing key is configured, so every notification is refused",
            "set AWR_API_TOKEN (the token that subscribes) or AWR_SIGNING_KEYS",
        )
    if about.settings.registration != "off" and about.settings.api_token is None:
        return fault(
            "AWR_API_TOKEN is not set", "set it, or AWR_REGISTER=off where another process registers"
        )
    listed = ", ".join(accepted)
    if short := about.settings.short_keys:
        return warn(
            f"accepted: {listed}; {' and '.join(short)} has a key that is short enough to be guessed",
            "use a token that AMPECO generated",
        )
    return ok(f"accepted: {listed}")


def _doubts(settings: Settings) -> list[str]:
    from commands.type_names import misspelled_settings
    from receiver.errors import SettingsError

    try:
        return misspelled_settings(settings)
    except SettingsError as error:
        return [str(error)]


def _refused(wrong: Sequence[SettingsError]) -> Finding:
    if len(wrong) == 1:
        return fault(f"{wrong[0].setting} {wrong[0].fault}", wrong[0].fix)
    return fault(
        "; ".join(f"{error.setting} {error.fault}" for error in wrong),
        "; ".join(f"{error.setting}: {error.fix}" for error in wrong),
    )
