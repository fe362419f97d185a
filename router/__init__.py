"""Prompt to category to expert: a trained, calibrated, explainable router.

router/ itself is the serving path; `encoding` turns texts into vectors and `model` holds a trained router. `training`,
`evaluation` and `mapping_study` make and judge one, and serving imports none of them. Of this project the router
imports `coe.types` and `coe.errors` alone. Importing it, and using `GeneralOnly`, loads neither torch nor transformers.
"""

from coe.types import Decision
from router.router import GeneralOnly, Router

__all__ = ["Decision", "GeneralOnly", "Router"]
