"""Text to vectors: sentence encoders from a wheel, a local folder or a hub id, and a cache of their vectors on disk.

Knows nothing about prompts, categories or experts.
"""
