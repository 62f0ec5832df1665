"""What happens to an event after it was accepted: the log it lies in, and the workers that drain it."""
