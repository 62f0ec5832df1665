"""The HTTP service: takes what AMPECO announces, and keeps the registration right."""
