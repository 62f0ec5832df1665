"""Connections to Redis: clients, pipelined script calls, Sentinel, and an embedded server."""
