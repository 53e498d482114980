"""The ftp store of discomputify: content-addressed blobs, manifests and the query service."""

__version__ = "2.0.0a1"
