"""Proposals: categories found in unlabelled prompts, and the expert of a catalogue that fits each.

Serving imports nothing of this package.
"""
