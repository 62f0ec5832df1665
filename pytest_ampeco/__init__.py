"""The way of pytest into `handlers.testing`: names its fixtures, and imports nothing until a test asks for one."""
