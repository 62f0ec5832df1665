"""Every action of AMPECO as a method; how its arguments are encoded, and how its answer is read."""

from ampeco.actions.unset import UNSET, Unset

__all__ = ["UNSET", "Unset"]
