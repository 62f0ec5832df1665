"""Issues.

Source: index of the specification v3.251.8 (names: confirmed, their types not published). The type string is
not published either: both likely ones are listed.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId, Time
from ampeco.models.objects.issue import Issue
from ampeco.models.payload import LoosePayload, Nested


class IssueChanged(LoosePayload):
    """An issue changed.

    Attributes:
        action: what was done with it; values not published.
        issue: only since some version after v3.168.0.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("issue.changed", "IssueChangedNotification")
    noun: ClassVar[str] = "issue"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"issueId": ("issue.id",)}

    issue: Nested[Issue] = None
    issue_id: OptionalId = None
    action: str | None = None
    status: str | None = None
    workflow_state: str | None = None
    updated_at: Time = None
