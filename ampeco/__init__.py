"""The vendor's world: what AMPECO sends, what its API understands, and a pretend tenant; see README.md."""
