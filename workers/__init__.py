"""Running handlers: worker processes, the drains in them, the attempts of each event, and once-only steps."""
