"""Weights on disk: the import of sources, the layout of units, the content-addressed store."""
