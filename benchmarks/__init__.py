"""How fast the door takes events and a worker drains them, against what a team would use otherwise."""
