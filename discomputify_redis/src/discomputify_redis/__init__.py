"""Shared memory of discomputify over a Redis server that somebody runs."""

__version__ = "2.0.0a1"
