"""`registration rotate-token`: from one API token to another without losing an event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands import options
from commands.acts import acting, resumable
from commands.output import print_json, print_line
from commands.registration_parts import Parts, on_registration
from commands.token_file import read_token

if TYPE_CHECKING:
    from eventlog.rotation import Rotation
    from receiver.settings import Settings
    from receiver.token_rotation import Say, TokenRotation

NEXT = "AWR_API_TOKEN_NEXT"
_MOVE = (
    "give the new token to receivers and workers as AWR_API_TOKEN, and take AWR_API_TOKEN_NEXT away",
    "where AWR_SIGNING_KEYS is set, take the old token out of it",
    "then run `registration rotate-token --continue`, and revoke the old token at AMPECO last",
)


@click.command("rotate-token")
@click.option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@click.option("--continue", "go_on", is_flag=True, help="Go on with the rotation that is open.")
@click.option(
    "--delivered", is_flag=True, help="Go on although no event came: you know that the new key delivers."
)
@click.option("--abandon", is_flag=True, help="Remove the new subscription, and keep the old one.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with the new token.",
)
@click.option(
    "--wait", default=300.0, show_default=True, type=options.Finite(min=0), help="Seconds for an event."
)
@click.option(
    "--overlap",
    default=60.0,
    show_default=True,
    type=options.Finite(min=0),
    help="Seconds with two subscriptions.",
)
@click.option("--yes", is_flag=True, hidden=True, help="Without --dry-run the rotation begins in any case.")
@options.as_json
def rotate_token(
    dry_run: bool,
    go_on: bool,
    delivered: bool,
    abandon: bool,
    token_file: Path | None,
    wait: float,
    overlap: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Rotate to the API token in AWR_API_TOKEN_NEXT, or in a file.

    Receivers must have it as AWR_API_TOKEN_NEXT. A second subscription is made with it, and the first one is removed
    once an event signed with the new key came. Every step is written down: --continue goes on after any interruption.
    """
    reached: list[dict[str, str]] = []

    def say(point: str, text: str) -> None:
        reached.append({"step": point, "text": text})
        if not as_json:
            print_line(text)

    from receiver.token_rotation import Patience

    patience = Patience(receivers=min(wait, 60.0), event=wait, overlap=overlap)
    document = rotate(
        patience,
        say=say,
        dry_run=dry_run,
        go_on=go_on or abandon,
        delivered=delivered,
        abandon=abandon,
        token_file=token_file,
    )
    if as_json:
        print_json({**document, "reached": reached})
        return
    for line in document["next"]:
        print_line(line)


def rotate(
    patience: Any,
    *,
    say: Say,
    dry_run: bool = False,
    go_on: bool = False,
    delivered: bool = False,
    abandon: bool = False,
    token_file: Path | None = None,
) -> dict[str, Any]:
    """Carry out as much of a rotation as can be done now; return what it left, and what a person has to do next."""

    async def work(parts: Parts) -> dict[str, Any]:
        from eventlog.errors import ChangeRefused
        from eventlog.rotation import rotation

        state = await rotation(parts.log)
        if state is None and go_on:
            raise ChangeRefused("no rotation is open")
        if state is not None and not (go_on or dry_run):
            raise ChangeRefused(
                f"a rotation to the key {state.new_key} is open (step {state.step}); --continue goes on, "
                "--abandon ends it"
            )
        rotating = _rotation_of(parts, state, say, patience, needs_new=not abandon)
        if dry_run:
            return await _plan(rotating, state)
        chosen = {"from": rotating.old_key, "to": rotating.new_key, "step": state.step if state else "none"}
        if abandon and state is not None:
            async with acting(parts.log, "registration rotate-token --abandon", chosen):
                await rotating.abandon(state)
            return {"rotation": None, "next": ["the old subscription and the old token stay in use"]}
        # What is written down stays when a later step has to wait.
        async with acting(parts.log, "registration rotate-token", chosen):
            state = state or await rotating.begin()
        with resumable("`registration rotate-token --continue`"):
            left = await rotating.go_on(state, delivered=delivered)
        return await _left(parts, left, rotating)

    return on_registration(work, change=lambda settings: _with_next(settings, token_file))


def _rotation_of(
    parts: Parts, state: Rotation | None, say: Say, patience: Any, *, needs_new: bool
) -> TokenRotation:
    """Find out which token is which: at the last step the new one has taken the place of the old one."""
    from ampeco.signature import SigningKey
    from receiver.errors import SettingsError
    from receiver.token_rotation import TokenRotation

    settings = parts.settings
    tokens = [token.get_secret_value() for token in (settings.api_token, settings.api_token_next) if token]
    ids = [SigningKey.of(token).key_id for token in tokens]
    if state is None and (len(ids) < 2 or ids[0] == ids[1]):
        fault = "is not set" if len(ids) < 2 else "is the token that is in use already"
        raise SettingsError(NEXT, fault, "set it to the token to rotate to, or use --token-file")
    old_key, new_key = (ids[0], ids[1]) if state is None else (state.old_key, state.new_key)
    if needs_new and new_key not in ids:
        raise SettingsError(
            NEXT,
            f"is not the token that the open rotation goes to (key {new_key})",
            "set it to that one, or use --abandon",
        )
    api = parts.reconciler.access.notifications
    return TokenRotation(
        parts.log,
        parts.reconciler,
        api,  # type: ignore[arg-type] # that of `Clients`, which knows both tokens
        old_key=old_key,
        new_key=new_key,
        say=say,
        patience=patience,
    )


async def _plan(rotating: TokenRotation, state: Rotation | None) -> dict[str, Any]:
    from commands.registration_view import rotation_document

    without = await rotating.receivers_without(rotating.new_key)
    return {
        "rotation": None if state is None else rotation_document(state),
        "old_key_id": rotating.old_key,
        "new_key_id": rotating.new_key,
        "receivers_without_the_new_key": without,
        "next": [
            f"from the key {rotating.old_key} to the key {rotating.new_key}"
            + ("" if state is None else f"; a rotation is open at the step {state.step}"),
            f"receivers that do not accept the new key yet: {', '.join(without) or 'none'}",
            "make a second subscription with the new token, wait for an event that is signed with it",
            "remove the old subscription, and say where to move the new token",
            "nothing was changed; without --dry-run the rotation begins",
        ],
    }


async def _left(parts: Parts, state: Rotation | None, rotating: TokenRotation) -> dict[str, Any]:
    from commands.registration_view import rotation_document
    from eventlog.replicas import replicas
    from receiver.token_rotation import still_accepting

    if state is not None:
        return {"rotation": rotation_document(state), "next": list(_MOVE)}
    named = still_accepting(await replicas(parts.log), rotating.old_key)
    words = [f"the rotation is done; the key {rotating.old_key} can be revoked at AMPECO"]
    if named:
        words.append(
            f"receivers that accepted it a moment ago: {', '.join(named)}; they go on if their settings name it"
        )
    return {"rotation": None, "next": words}


def _with_next(settings: Settings, file: Path | None) -> Settings:
    """Return the settings with the next token from a file."""
    if file is None:
        return settings
    from pydantic import SecretStr

    from ampeco import key_text
    from receiver.errors import SettingsError

    if (fault := key_text.fault_of(token := read_token(file))) is not None:
        raise SettingsError("--token-file", fault, "write the token alone into it")
    return settings.model_copy(update={"api_token_next": SecretStr(token)})
