"""Typed payloads of notifications, one file per noun; import them from `ampeco.notifications`."""
