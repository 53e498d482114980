"""The leastload scheduling policy of discomputify: the least busy node first."""

__version__ = "2.0.0a1"
