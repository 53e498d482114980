"""The shared memory of discomputify: a volatile table of values, lists, locks and collectives, and its service."""

__version__ = "2.0.0a1"
