"""Checks of AMPECO: does the tenant answer, what may the token do, is the notification subscription right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ampeco.errors import ApiError, Forbidden, NotFound, Unauthorized, Unreachable
from commands.doctor.finding import Finding, NotChecked, fault, ok, unknown, warn
from commands.spans import counted

if TYPE_CHECKING:
    from commands.doctor.deployment import Deployment
    from eventlog.replicas import Replica
    from receiver.registration import Plan

_READS = {
    "charge points": "/public-api/resources/charge-points/v2.0",
    "sessions": "/public-api/resources/sessions/v1.0",
    "transactions": "/public-api/resources/transactions/v1.0",
    "users": "/public-api/resources/users/v1.0",
}


async def tenant(about: Deployment) -> Finding:
    """Does the tenant answer, and does the log belong to it?"""
    import httpx2

    from ampeco import base_url
    from eventlog.connection.credentials import without_login
    from eventlog.ownership import recorded

    url = about.needed("AWR_TENANT_URL")
    try:
        answer = await about.front_page()
    except (httpx2.HTTPError, TimeoutError, OSError) as error:
        return fault(
            f"does not answer ({type(error).__name__})",
            "check AWR_TENANT_URL, DNS, firewall and proxy; for a wrong certificate, the CA certificates here",
        )
    if answer.status >= 500:
        return warn(f"answers {answer.status}", "wait; AMPECO's status page may say more")
    try:
        known = await recorded(await about.log())
    except NotChecked:
        known = {}
    if known.get("url") not in (None, url):
        return fault(
            f"the log belongs to {without_login(known['url'])}, not to {url}",
            "set AWR_KEY_PREFIX or AWR_REDIS_URL to a log of its own",
        )
    if known.get("lanes") not in (None, str(about.settings.lanes)):
        return fault(
            f"the log has {known['lanes']} lanes, AWR_LANES is {about.settings.lanes}",
            f"set AWR_LANES={known['lanes']}",
        )
    if base_url.in_clear(url):
        return warn("answers, but over http: the token is readable on its way", "use https")
    return ok(
        "answers" + (", and the log is its own" if "url" in known else ", and the log is not claimed yet")
    )


async def token(about: Deployment) -> Finding:
    """Does AMPECO accept the API token?"""
    if about.settings.registration == "off" and about.settings.api_token is None:
        return ok("none is set, and AWR_REGISTER is off")
    try:
        await about.subscriptions()
    except Unauthorized:
        return fault(
            "AMPECO refuses it (401): it is unknown or was revoked", "make a token in AMPECO's back office"
        )
    except Forbidden:
        return ok("AMPECO knows it; what it may not do follows")
    except Unreachable as error:
        raise NotChecked(f"the tenant does not answer ({error.reason})") from None
    except ApiError as error:
        return unknown(f"AMPECO answers {error.status or error.reason}", "try again")
    return ok("AMPECO accepts it")


async def token_rights(about: Deployment) -> Finding:
    """What may the owner of the token do? AMPECO names no owner; so a few reads are tried."""
    allowed: list[str] = []
    refused: list[str] = []
    try:
        await about.subscriptions()
        allowed.append("notification subscriptions")
    except Forbidden:
        refused.append("notification subscriptions")
    for name, path in _READS.items():
        try:
            await about.client().call("GET", path, query={"per_page": 1})
        except Forbidden:
            refused.append(name)
        except NotFound:
            continue  # an older tenant
        else:
            allowed.append(name)
    what = f"its owner may read {', '.join(allowed) or 'nothing of what was tried'}"
    if not refused:
        return ok(f"{what}; AMPECO says neither who that is nor which actions it may call")
    what = f"{what}, and may not read {', '.join(refused)} (403)"
    fix = "give the admin who owns the token the permission, in AMPECO's back office"
    if "notification subscriptions" in refused and await _has_to_subscribe(about):
        return fault(what, f"{fix}, or set AWR_REGISTER=off")
    return warn(what, f"{fix}, if handlers need it")


async def _has_to_subscribe(about: Deployment) -> bool:
    """Return whether this token subscribes. Where receivers hold none, another process registers."""
    from redis.exceptions import RedisError

    from receiver.errors import SettingsError

    if about.settings.registration == "off":
        return False
    try:
        alive = await _receivers(about)
    except (NotChecked, SettingsError, RedisError, OSError):
        return True
    return not alive or any(one.api_key for one in alive)


async def _receivers(about: Deployment) -> list[Replica]:
    from eventlog.replicas import replicas

    return await replicas(await about.log())


async def api_budget(about: Deployment) -> Finding:
    """Does AMPECO take as many calls as all processes make?"""
    from eventlog.call_budget import budget_standing

    found = await budget_standing(await about.log())
    if not found.paused_s:
        return ok(found.sentence)
    return warn(
        found.sentence,
        "wait; if it lasts, ask AMPECO for a higher limit, or let other programs use another token",
    )


async def registration(about: Deployment) -> Finding:
    """Does our notification subscription exist, for all types that handlers want, with a key that is accepted?"""
    if about.settings.registration == "off":
        return ok("AWR_REGISTER is off, so nothing is registered from here")
    plan, key_id = await _difference(about)
    if not plan.types:
        return warn(
            "no handler wants a type, so nothing is registered", "start a worker, or set AWR_NOTIFICATIONS"
        )
    if await _is_removed(about):
        return warn("removed on request, and no receiver makes it again", "`registration apply --yes` does")
    if plan.keep is None:
        return fault(
            "AMPECO has no notification subscription for our callback URL",
            "start a receiver: it subscribes; its log line notification_subscription.failed says why it cannot",
        )
    if key_id and key_id not in await _accepted(about):
        return fault(
            f"subscription {plan.keep} is signed with the key {key_id}, which is not accepted",
            "add that key to AWR_SIGNING_KEYS, or subscribe again with a token that is accepted",
        )
    if plan.change:
        return warn(
            f"subscription {plan.keep} is not as handlers want it: with {counted(len(plan.types), 'type')}",
            "a running receiver changes it within minutes; its log says why it cannot",
        )
    if further := (*plan.extras, *plan.left):
        return warn(
            f"{len(further)} further subscriptions have our callback URL: every event comes several times",
            "remove them with `registration apply --remove ID`, unless a rotation of keys is under way",
        )
    return await _old_keys(about, key_id) or ok(
        f"subscription {plan.keep} has {counted(len(plan.types), 'type')}"
    )


async def _accepted(about: Deployment) -> frozenset[str]:
    """Return the keys that every live receiver accepts; while none is alive, those of the settings here."""
    if alive := await _receivers(about):
        return frozenset.intersection(*(one.accepted for one in alive))
    return frozenset(key.key_id for key in about.settings.accepted_keys)


async def _old_keys(about: Deployment, key_id: str) -> Finding | None:
    """Warn of a rotation that is open, and of keys in use that are not the subscription's."""
    from eventlog.clock import rfc3339
    from eventlog.subscription import SubscriptionStore

    store = SubscriptionStore(await about.log())
    if (rotation := await store.rotation()) is not None:
        return warn(
            f"a rotation to the key {rotation.new_key} is open, at the step {rotation.step}",
            "go on with `registration rotate-token --continue`",
        )
    heard = await store.heard()
    # A key that no receiver accepts any more can be revoked, however lately it was used.
    accepted = {name for one in await _receivers(about) for name in one.accepted}
    others = (heard.recent_keys() & accepted) - {key_id}
    old = {name: heard.by_key[name] for name in others}
    if key_id and old:
        used = ", ".join(f"{name} (last at {rfc3339(at_ms)})" for name, at_ms in sorted(old.items()))
        return warn(
            f"events of the last ten minutes are signed with other keys than the subscription's: {used}",
            "do not revoke these tokens yet; `registration show` lists when each key was last used",
        )
    return None


async def _is_removed(about: Deployment) -> bool:
    from eventlog.subscription import SubscriptionStore

    return (await SubscriptionStore(await about.log()).registration()).removed_ms is not None


async def _difference(about: Deployment) -> tuple[Plan, str]:
    """Return what a receiver would change at AMPECO, and the id of the key of our subscription."""
    from eventlog.subscription import SubscriptionStore
    from receiver.registration import Known, reconcile
    from receiver.subscribed_types import one_spelling

    url, log = about.settings.callback_url, await about.log()
    if url is None:
        raise NotChecked(f"AWR_PUBLIC_URL is {_why_not(about)}")
    existing = await about.subscriptions()
    pinned = about.settings.notifications
    wanted = one_spelling(await log.wants() if pinned is None else [frozenset((name,)) for name in pinned])
    remembered = await SubscriptionStore(log).read()
    known = Known(remembered.get("id"), remembered.get("callback_url"))
    plan = reconcile(existing, wanted, url, known=known)
    return plan, remembered.get("key_id", "") if remembered.get("id") == plan.keep else ""


def _why_not(about: Deployment) -> str:
    return "refused" if any(error.setting == "AWR_PUBLIC_URL" for error in about.refused) else "not set"
