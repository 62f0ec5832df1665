"""Checks of the callback URL: is it reachable from here, is the receiver behind it, is its certificate valid?"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from commands.doctor.finding import Finding, NotChecked, fault, ok, unknown, warn

if TYPE_CHECKING:
    from commands.doctor.deployment import Deployment

_WAIT_S = 5.0
_LATELY_S = 900
_DAY_S = 86_400
_SOON_DAYS = 14
_BEHIND_PROXY = (502, 503, 504)
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


async def reachable(about: Deployment) -> Finding:
    """Does a GET of the callback URL come to a receiver, which answers 405?"""
    import httpx2

    from commands.doctor.deployment import http_client

    url = _url(about)
    try:
        async with http_client(url) as http:
            answer = await http.get(url)
    except (httpx2.HTTPError, OSError) as error:
        return await _not_reached(about, type(error).__name__)
    status = answer.status_code
    if status == 405:
        return ok("a receiver answers")
    if status in _BEHIND_PROXY:
        return fault(
            f"answers {status}: there is a proxy, and no receiver behind it",
            "start a receiver, and check the proxy's target: the Service, port 80",
        )
    if status == 404:
        return fault(
            "answers 404: another server, or another path",
            "check AWR_PUBLIC_URL and AWR_WEBHOOK_PATH against the proxy's rules",
        )
    return fault(
        f"a GET is answered {status}, and a receiver answers 405",
        "let the proxy pass the path to the receiver unchanged, without a login or redirect",
    )


async def certificate(about: Deployment) -> Finding:
    """Is the certificate of the callback URL valid, with its whole chain, and for how long?"""
    import httpx2

    parts = urlsplit(_url(about))
    host = parts.hostname or ""
    if parts.scheme != "https":
        return warn("http: events are readable on their way", "use https, which AMPECO asks for")
    context = httpx2.create_ssl_context()
    try:
        async with asyncio.timeout(_WAIT_S):
            _, writer = await asyncio.open_connection(
                host, parts.port or 443, ssl=context, server_hostname=host
            )
    except ssl.SSLCertVerificationError as error:
        return fault(
            f"refused: {error.verify_message}",
            "serve a certificate for this name, with all intermediate ones",
        )
    except ssl.SSLError as error:
        return fault(
            f"TLS fails: {error.reason or 'no handshake'}", "check what terminates TLS at this address"
        )
    except (OSError, TimeoutError) as error:
        through = " directly; a proxy is configured" if any(map(about.environ.get, _PROXIES)) else ""
        return unknown(
            f"{host} is not reachable{through} ({type(error).__name__})", "check it from another network"
        )
    try:
        shown = writer.get_extra_info("peercert") or {}
    finally:
        writer.transport.abort()
    left_days = (ssl.cert_time_to_seconds(shown["notAfter"]) - time.time()) / _DAY_S
    if left_days < _SOON_DAYS:
        return warn(f"valid for {left_days:.0f} more days", "renew it")
    return ok(f"valid for {left_days:.0f} more days")


def _url(about: Deployment) -> str:
    about.needed("AWR_PUBLIC_URL")
    url = about.settings.callback_url
    if url is None:
        raise NotChecked("AWR_PUBLIC_URL is not set")
    return url


async def _not_reached(about: Deployment, why: str) -> Finding:
    """Judge by what arrived lately: a network may forbid only this way."""
    from eventlog.inspection.last_events import newest_at_ms

    what, fix = f"not reachable from here ({why})", "check DNS, firewall and the proxy in front"
    try:
        at_ms = await newest_at_ms(await about.log())
    except Exception:  # noqa: BLE001 - what arrived is a further fact, and Redis has checks of its own
        at_ms = None
    age_s = None if at_ms is None else time.time() - at_ms / 1000
    if age_s is not None and age_s < _LATELY_S:
        return warn(
            f"{what}, but an event arrived {age_s:.0f} s ago",
            f"if AMPECO reaches it, ignore this; else {fix}",
        )
    return fault(what, fix)
