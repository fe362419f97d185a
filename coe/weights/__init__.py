"""Weights as a paged, content-addressed, tiered cache: units, leases, residency and transfer."""
