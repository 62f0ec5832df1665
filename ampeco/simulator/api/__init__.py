"""The API of the simulated tenant, and its control endpoints."""
