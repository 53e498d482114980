"""Conformance suites and in-memory fakes for authors of discomputify plugins."""

__version__ = "2.0.0a1"
