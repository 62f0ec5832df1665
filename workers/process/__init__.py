"""Worker processes: the event loop, the RQ loop, isolated handlers, child processes."""
