"""Libraries that log a line per request or per malformed request, and the lowest level that each may use."""

import logging

CHATTY = {
    "httpx2": "WARNING",
    "httpcore2": "WARNING",
    "opentelemetry": "ERROR",  # a warning for each repetition while the collector is away
    "urllib3": "WARNING",
    "uvicorn.error": "ERROR",
    "uvicorn.access": "ERROR",
}


def hush() -> None:
    """Limit these libraries to their lowest useful level."""
    for name, least in CHATTY.items():
        logging.getLogger(name).setLevel(least)
