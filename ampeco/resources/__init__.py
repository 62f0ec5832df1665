"""Every resource and log endpoint of AMPECO as a method; what such a method says and how its answer is read."""
