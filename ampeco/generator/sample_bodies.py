"""The contract's payload schemas -> `ampeco/contract/bodies/`: two bodies per type, and the headers of each.

Types that the contract does not describe keep a body of ours, `<type>.guess.json`, which is written by hand; it only
gets its headers here.
"""

import json
from pathlib import Path

from ampeco.contract import published
from ampeco.contract.samples import BODIES, HEADERS, SAMPLE_KEY
from ampeco.contract.values import example
from ampeco.signature import sign

_SENT_AT = "2026-11-24T09:00:30.512345Z"


def outputs() -> dict[Path, str]:
    """The bodies, and the headers of each in `headers.json`."""
    made = {
        BODIES / f"{notification}.{case}.json": _written(
            example(schema, notification.split(".")[0], full=case == "full")
        )
        for notification in sorted(published.notifications())
        if (schema := published.payload(notification)) is not None
        for case in ("minimal", "full")
    }
    guesses = {path: path.read_text() for path in BODIES.glob("*.guess.json")}
    headers = {path.name: _headers(path, text) for path, text in sorted({**made, **guesses}.items())}
    return {**made, HEADERS: _written(headers)}


def _headers(path: Path, text: str) -> dict[str, str]:
    notification = path.name.rsplit(".", 2)[0]
    values = {
        "X-Signature": sign(text.encode(), SAMPLE_KEY),
        "X-Timestamp": _SENT_AT,
        "X-Tenant": "1",
        "X-Webhook-Id": "1",
        "X-Webhook-Type": notification,
    }
    wanted = published.headers(notification)
    return {"Content-Type": "application/json"} | {k: v for k, v in values.items() if k in wanted}


def _written(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"
