"""Weights on disk: importing sources, the layout of units, the content-addressed unit store."""
