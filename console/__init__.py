"""Pages for operators: what the log knows, and what may be done about it. It never reads Redis itself."""
