"""Prompt to category to expert: a trained, calibrated, explainable router.

Owns sentence embeddings, the category classifier, the abstain rule, the mapping and the shipped artefact. Knows nothing
about serving: it imports nothing else of this project, and takes anything that has `.messages` and `.expert` for a
query. Importing it, and using `GeneralOnly`, loads neither torch nor transformers.
"""

from coe.types import Decision
from router.router import GeneralOnly, Router

__all__ = ["Decision", "GeneralOnly", "Router"]
