"""Every resource and log endpoint of AMPECO as a method; how bodies are written and answers are read."""
