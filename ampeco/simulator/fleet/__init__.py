"""Simulated charge points and sessions, and the scenarios that drive them."""
