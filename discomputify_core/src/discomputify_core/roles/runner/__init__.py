"""The process that starts, captures and ends all parts of a node; and the node's side of it."""
