"""In-memory stand-ins for plugins. Each passes the conformance suite of its kind."""
