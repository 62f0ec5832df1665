"""`registration`: our notification subscription at AMPECO, compared with what the handlers want."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.acts import acting
from commands.output import print_json, print_line, print_unchanged
from commands.registration_parts import NEEDS, Parts, on_registration
from commands.spans import counted
from commands.token_rotation import rotate_token

if TYPE_CHECKING:
    from receiver.registration_check import Look


@click.group()
def registration() -> None:
    """Show, change and remove our notification subscription at AMPECO."""


@registration.command()
@options.as_json
def show(as_json: bool) -> None:
    """Show what exists at AMPECO, what is wanted and by which handlers, and when events came last."""
    from commands import registration_view as view

    found, error = on_registration(_read)
    if as_json:
        print_json(view.document(found))
    else:
        view.print_all(found)
    if error is not None:
        raise error


@registration.command()
@click.option("--exit-code", is_flag=True, help="End with 1 if there is something to change.")
@options.as_json
def plan(exit_code: bool, as_json: bool) -> None:
    """Show what `apply` would change at AMPECO."""
    from commands import registration_view as view

    async def work(parts: Parts) -> Look:
        return await parts.look()

    look = on_registration(work)
    if as_json:
        print_json({"plan": view.plan_document(look)})
    else:
        view.print_plan(look)
    if exit_code and view.has_changes(look):
        raise click.exceptions.Exit(1)


@registration.command()
@click.option(
    "--remove", multiple=True, metavar="ID", help="Also remove this further subscription for our URL."
)
@options.confirm
@options.as_json
def apply(remove: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Make the subscription what the handlers want, and give up types that no handler wants.

    After `registration remove` it makes a new subscription.
    """
    from commands import registration_view as view
    from eventlog.errors import ChangeRefused
    from receiver.registration import same_url

    async def work(parts: Parts) -> tuple[Look, str | None]:
        look = await parts.look(remove=remove)
        ours = {one.id for one in look.existing if same_url(one.callback_url, parts.reconciler.callback_url)}
        if unknown := sorted(set(remove) - ours):
            raise ChangeRefused(
                f"AMPECO shows no notification subscription for our URL with the id {unknown[0]}"
            )
        if look.foreign:
            raise ChangeRefused(view.foreign_line(look))
        key_id = parts.reconciler.access.key_id
        deaf = [one.name for one in await parts.store.replicas() if key_id not in one.accepted]
        if look.plan.action == "create" and deaf:
            raise ChangeRefused(
                f"receivers do not accept the key {key_id} of this API token ({', '.join(deaf)}), so they would "
                "refuse what AMPECO delivers; run this with the token that registers, or add it to AWR_SIGNING_KEYS"
            )
        if not yes:
            return look, None
        chosen = {"adds": look.plan.adds, "drops": look.plan.drops, "removes": look.plan.extras}
        async with acting(parts.log, "registration apply", chosen, len(look.plan.types)):
            await parts.store.lift_removed()
            done = await parts.carry_out(look, remove=remove)
        if look.plan.changes:
            await parts.store.announce_change(
                look.plan.action, done.kept, look.plan.types, "an operator applied it"
            )
        return look, done.state

    look, state = on_registration(work, changes=yes)
    if as_json:
        print_json({"plan": view.plan_document(look), "done": yes, "state": state})
        return
    view.print_plan(look)
    _conclude(yes, "applied")


@registration.command("remove")
@options.confirm
@options.as_json
def remove_(yes: bool, as_json: bool) -> None:
    """Remove the subscription for our URL, and make no new one until `registration apply`."""
    from eventlog.errors import ChangeRefused
    from receiver.registration import for_url

    async def work(parts: Parts) -> list[dict[str, Any]]:
        if yes and await parts.store.rotation() is not None:
            raise ChangeRefused(
                "a rotation of the API token is open; `rotate-token --continue` or --abandon first"
            )
        api, url = parts.reconciler.access.notifications, parts.reconciler.callback_url
        ours = for_url(await api.list(), url)
        if yes:
            async with acting(parts.log, "registration remove", {"callback_url": url}, len(ours)):
                await parts.store.set_removed()  # first, so that no receiver makes a new one in between
                for one in ours:
                    await api.unsubscribe(one.id)
                await parts.store.forget()
                await parts.store.set_removed()
            await parts.store.announce_change("remove", None, (), "an operator removed it")
        return [
            {"id": one.id, "callback_url": one.callback_url, "types": len(one.notifications)} for one in ours
        ]

    found = on_registration(work, changes=yes)
    if as_json:
        print_json({"plan": {"remove": found}, "done": yes})
        return
    for one in found:
        print_line(f"remove {one['id']}: {counted(one['types'], 'type')} to {one['callback_url']}")
    if not found:
        print_line("AMPECO shows no notification subscription for our URL")
    print_line("receivers make no new one until `registration apply --yes`")
    _conclude(yes, "removed")


@registration.command()
def watch() -> None:
    """Keep the subscription right from a process of its own, while receivers run with AWR_REGISTER=off.

    It has health and metrics on the admin port, and no public port. After `registration remove` it changes nothing
    until `registration apply`.
    """
    import uvloop

    from commands.processes import SERVE_STOP_S, keep_what_is_loaded, limit_stop, say_ready, stop_on_signals
    from receiver.errors import SettingsError
    from receiver.registration_watch import RegistrationWatch
    from receiver.settings import load
    from workers.process.deadline import Deadline

    settings = prepare(need=("AWR_REDIS_URL", *NEEDS))
    if settings.registration == "off":
        raise SettingsError(
            "AWR_REGISTER", "is off, so there is nothing to watch", "set it to auto for this process"
        )

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        limit_stop(stop, Deadline(idle_s=SERVE_STOP_S))
        await RegistrationWatch(settings, reload=lambda: load(os.environ)).run(stop, on_open=say_ready)

    keep_what_is_loaded()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def _read(parts: Parts) -> tuple[Any, Exception | None]:
    from ampeco.errors import ApiError
    from commands.registration_view import Shown

    wanted = await parts.reconciler.wanted()
    look, error = None, None
    try:
        look = await parts.reconciler.look(wanted)
    except ApiError as found:
        error = found
    shown = Shown(
        parts.reconciler.callback_url,
        await parts.store.read(),
        await parts.store.registration(),
        wanted,
        await parts.store.replicas(),
        await parts.store.heard(),
        await parts.store.rotation(),
        look,
    )
    return shown, error


def _conclude(done: bool, verb: str) -> None:
    if done:
        click.echo(verb)
    else:
        print_unchanged()


registration.add_command(rotate_token)
