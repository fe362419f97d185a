"""Labelled prompts: tables, authored prompts and conversations, near-duplicates, and what the shipped router has.

Knows nothing about embeddings or models.
"""
