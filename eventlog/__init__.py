"""The event log in Redis: the only room that knows Redis keys, their layout and the scripts over them."""
