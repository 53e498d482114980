"""The store as a class."""
