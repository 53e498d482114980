"""The computing node as a class."""
