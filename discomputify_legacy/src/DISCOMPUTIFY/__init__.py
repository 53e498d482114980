"""The names of DISCOMPUTIFY 1.0.0 over the new system. This file stays light: every part of old programs imports it."""

__version__ = "2.0.0a1"
