"""Once-only steps: records each call before it is made, and returns the recorded result."""
