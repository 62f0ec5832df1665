"""Makes code, tables and pages from the facts in `ampeco/facts`: `make generate`. Not part of the wheel."""
