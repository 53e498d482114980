"""CYPHER-PROTOCOL over TCP: the encrypted, mutually authenticated transport of discomputify."""

__version__ = "2.0.0a1"
