"""How fast the endpoint accepts events and a worker drains them, against what a team would use otherwise."""
