"""Labelled prompts to an artefact: encodes and groups rows, fits, calibrates, and rebuilds the shipped router.

Serving imports nothing of this package.
"""
