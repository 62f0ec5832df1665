"""Works through one lane of one handler: reads, orders, starts, and settles events."""
