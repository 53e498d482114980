"""What the master writes down on its disk: records in segments, snapshots, and reading both after whatever happened."""
