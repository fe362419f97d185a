"""Weights as a paged, content-addressed, tiered cache: units on disk, in host memory and on the device."""
