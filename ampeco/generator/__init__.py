"""Makes code, tables and pages from the facts in `tests/facts`: `make generate`. Not part of the wheel."""
