"""One event for one handler: attempts, their time limits, and their outcomes."""
