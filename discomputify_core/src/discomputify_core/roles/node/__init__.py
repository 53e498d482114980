"""The computing node: what one attempt needs, from its files to its outcome."""
