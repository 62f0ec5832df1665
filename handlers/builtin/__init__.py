"""Handlers that come with the service; `resend_failed.py` is the one to copy from."""
