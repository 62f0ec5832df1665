"""Makes notifications from the state of a resource: what a missed one would have stated, where that is certain.

A listing shows a resource as it is now. So only notifications are made that say no more than that: the whole session,
the whole user, and those that name nothing but an id. Starts and stops, statuses and meter values are never made, and
what was deleted is in no listing.

Source: published contract v3.110.0: the filters `lastUpdatedAfter`, `lastUpdatedBefore`, `receivedAfter` and
`receivedBefore`, and the fields of the notifications.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ampeco.listing import Query, narrowing
from ampeco.models.fields import read_id, read_time
from ampeco.operations import VERSIONS, Operation

Document = Mapping[str, Any]

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")  # Python refuses to read thousands of digits


@dataclass(frozen=True, slots=True)
class Source:
    """Where the resources of a notification type are listed.

    Attributes:
        resource: name of the operation's noun, e.g. `sessions`.
        version: of the listing.
        changed: name of the filter and of the field with the time of the change: `lastUpdated` or `received`.
        happens_once: such a notification comes once for each resource, so any that arrived is the one.
        fields: makes the fields of the notification from a resource and its action; None when it cannot.
    """

    resource: str
    version: str
    fields: Callable[[Document, str], dict[str, Any] | None]
    changed: str = "lastUpdated"
    happens_once: bool = False

    @property
    def listing(self) -> Operation:
        """The operation that lists the resources."""
        return VERSIONS[f"resources.{self.resource}.list", self.version]

    def window(self, since: datetime, until: datetime) -> Query:
        """The filters for what changed in a window."""
        return narrowing({f"{self.changed}After": _whole(since), f"{self.changed}Before": _whole(until)})

    def changed_at(self, document: Document) -> datetime | None:
        """When a resource changed last, aware UTC; None when it does not say."""
        return read_time(document.get(f"{self.changed}At"))


def _whole(at: datetime) -> datetime:
    """Whole seconds, as the contract's examples have them."""
    return at.replace(microsecond=0)


def reconstructed(notification: str, document: Any, since: datetime) -> bytes | None:
    """Make the body of a notification from a resource.

    Args:
        since: a resource that was created later counts as created, any other as updated.

    Returns:
        None when the resource does not name what the notification needs.
    """
    if not isinstance(document, dict):
        return None
    created = read_time(document.get("createdAt"))
    action = "created" if created is not None and created >= since else "updated"
    fields = SOURCES[notification].fields(document, action)
    if fields is None:
        return None
    return json.dumps({"notification": notification, **fields}, separators=(",", ":")).encode()


def _session(document: Document, action: str) -> dict[str, Any] | None:
    found = read_id(document.get("id"))
    return None if found is None else {"session": {**document, "id": found}}


def _user(document: Document, action: str) -> dict[str, Any] | None:
    found, at = read_id(document.get("id")), document.get("lastUpdatedAt")
    return None if found is None else {"user": {**document, "id": found}, "action": action, **_changed(at)}


def _cdr(document: Document, action: str) -> dict[str, Any] | None:
    found = read_id(document.get("roamingId"))
    at = document.get("createdAt") or document.get("receivedAt")
    return None if found is None else {"id": found, "createdAt": at}


def _id_as(name: str) -> Callable[[Document, str], dict[str, Any] | None]:
    def fields(document: Document, action: str) -> dict[str, Any] | None:
        found = read_id(document.get("id"))
        if found is None:
            return None
        id_ = int(found) if _NUMBER.fullmatch(found) else found
        return {name: id_, "action": action, **_changed(document.get("lastUpdatedAt"))}

    return fields


def _changed(at: Any) -> dict[str, Any]:
    return {} if at is None else {"lastUpdatedAt": at}


SOURCES: Mapping[str, Source] = {
    "SessionUpdateNotification": Source("sessions", "1.0", _session),
    "UserChangedNotification": Source("users", "1.0", _user),
    "cdr.received": Source("cdrs", "2.0", _cdr, changed="received", happens_once=True),
    "chargePoint.changed": Source("charge-points", "2.0", _id_as("chargePointId")),
    "evse.changed": Source("evses", "2.1", _id_as("evseId")),
    "idTag.changed": Source("id-tags", "2.0", _id_as("idTagsId")),
    "partner.changed": Source("partners", "2.0", _id_as("partnerId")),
    "transaction.changed": Source("transactions", "1.0", _id_as("transactionId")),
}
"""Notification type -> where its resources are listed, for every type that can be made from a resource."""
