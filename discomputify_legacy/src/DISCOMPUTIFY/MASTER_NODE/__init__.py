"""The master as a class."""
