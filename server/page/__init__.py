"""The page at /: a conversation, and what the composition does meanwhile. A browser gets static/ as it lies there."""
