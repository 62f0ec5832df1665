"""The history checker: a whole deployment under random faults, and a judge over what was recorded meanwhile."""
