"""A job that does nothing, for RQ's workers."""


def handle(content: bytes) -> None:
    """Do nothing."""
