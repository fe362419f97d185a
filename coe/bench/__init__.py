"""Benchmarks as commands of the product: ceiling first, medians and ratios from one run, JSON on the last line."""
