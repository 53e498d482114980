"""The master node: events in, commands out, and what peers may ask."""
