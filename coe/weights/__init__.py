"""Weights as a paged, content-addressed cache in three tiers, disk, host and device; `cache.py` is its door."""
