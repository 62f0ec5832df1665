"""Every endpoint of AMPECO's API as data: the newest version of each (`OPERATIONS`) and all of them (`VERSIONS`)."""

from ampeco.operations.table import OPERATIONS, VERSIONS, Field, Format, Id, Kind, Method, Operation

__all__ = ["OPERATIONS", "VERSIONS", "Field", "Format", "Id", "Kind", "Method", "Operation"]
