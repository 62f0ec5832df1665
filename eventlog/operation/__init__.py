"""Changes the log for operators: dead letters, replays, and the state of handlers."""
