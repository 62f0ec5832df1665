"""Every endpoint of AMPECO's API as data: the newest version of each (`OPERATIONS`) and all of them (`VERSIONS`)."""

from ampeco.operations.addresses import check_address, is_declared, normal_path, operation_at, operation_named
from ampeco.operations.table import OPERATIONS, VERSIONS, Field, Format, Id, Method, Operation, Paging

__all__ = [
    "OPERATIONS",
    "VERSIONS",
    "Field",
    "Format",
    "Id",
    "Method",
    "Operation",
    "Paging",
    "check_address",
    "is_declared",
    "normal_path",
    "operation_at",
    "operation_named",
]
