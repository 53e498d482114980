"""The roundrobin scheduling policy of discomputify: nodes take turns."""

__version__ = "2.0.0a1"
