"""Labelled prompts to an artefact: reads, checks and groups rows, fits, calibrates, and rebuilds the shipped router.

Serving imports nothing of this package.
"""
