"""A trained router as it is loaded and applied: vectors and texts to category probabilities, doubt and neighbours.

Owns the layers, the abstain rule and the artefact's files. Fits nothing; `router.training` does that.
"""
