"""Sends notifications as AMPECO does: signed, in order, with retries."""
