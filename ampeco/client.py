"""Clients of AMPECO's API, asynchronous and not, and what they are given."""

from ampeco.async_client import AsyncClient
from ampeco.connection import AsyncThrough, Gate, Through
from ampeco.models.notification_subscription import NotificationSubscription
from ampeco.repeating import RetryPolicy
from ampeco.sync_client import Client

__all__ = [
    "AsyncClient",
    "AsyncThrough",
    "Client",
    "Gate",
    "NotificationSubscription",
    "RetryPolicy",
    "Through",
]
