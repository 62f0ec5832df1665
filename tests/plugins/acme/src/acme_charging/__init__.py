"""Handlers of the Acme charging network."""
