"""The client of old scripts."""
