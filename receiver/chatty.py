"""Libraries that log a line for each request or for each malformed request, and the least level that they may use."""

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
    """Let these libraries log what matters only."""
    for name, least in CHATTY.items():
        logging.getLogger(name).setLevel(least)
