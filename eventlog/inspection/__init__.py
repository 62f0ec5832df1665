"""Reads the log for people: what happened to an event, and why."""
