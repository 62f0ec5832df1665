"""Every action of AMPECO as a method; what such a method says, and how its answer is read."""

from ampeco.actions.unset import UNSET, Unset

__all__ = ["UNSET", "Unset"]
