"""The RQ job under the name that is enqueued. During a rollout old and new workers run each other's jobs.

Remove it one release after `eventlog.wakeups` enqueues another name.
"""

from eventlog.wakeups import drain

__all__ = ["drain"]
