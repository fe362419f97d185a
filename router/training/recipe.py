"""The recipe of a training: kind of classifier, penalties, weights, and the target of the abstain rule.

Owns its values, those of the shipped router, and the candidates that `--choose` compares. Knows nothing about prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.labelled.authored import authored_families

__all__ = ["DEFAULTS", "KINDS", "SHIPPED", "Recipe", "candidates_of"]


KINDS = ("described", "linear", "hidden", "neighbours")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a router is trained.

    `kind` is "described" (softmax regression around the categories' descriptions, with penalties of its own), "linear"
    (softmax regression), "hidden" (`num_units` hidden units) or "neighbours". `penalty` is the L2 penalty of the linear
    one against the mean loss (scikit-learn's C is 1 / (penalty * n)). `tf_idf_penalty` is that of the regression over
    TF-IDF, whose logits are added at `tf_idf_weight` (0: no TF-IDF). `abstain_target` is the share
    of in-domain prompts that may abstain, measured on families held out where a category has several. `family_boosts`
    multiplies the weight of a family among those of its category.
    """

    kind: str = "described"
    penalty: float = 1e-4
    num_units: int = 512
    tf_idf_weight: float = 0.5
    tf_idf_penalty: float = 1e-4
    num_neighbours: int = 15
    abstain_target: float = 0.05
    num_exemplars: int = 3000
    num_folds: int = 5
    seed: int = 0
    family_boosts: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """A short name for tables of recipes."""
        of_vectors = {
            "described": "around descriptions",
            "linear": f"linear, penalty {self.penalty:g}",
            "hidden": f"{self.num_units} hidden units",
            "neighbours": f"{self.num_neighbours} neighbours",
        }[self.kind]
        return f"{of_vectors}, TF-IDF at {self.tf_idf_weight:g}" if self.tf_idf_weight else of_vectors

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind '{self.kind}': must be one of {', '.join(KINDS)}")


DEFAULTS = Recipe()
BOOSTS = tuple((family, 3.0) for family in authored_families())
SHIPPED = Recipe(kind="hidden", tf_idf_weight=0.5, abstain_target=0.05, family_boosts=BOOSTS)


def candidates_of(recipe: Recipe) -> list[Recipe]:
    """Return what `--choose` compares: all kinds, two penalties, with and without TF-IDF."""
    others = [
        replace(recipe, kind=kind, tf_idf_weight=weight) for kind in ("neighbours", "hidden") for weight in (0.0, 0.5)
    ]
    linear = [
        replace(recipe, kind="linear", penalty=penalty, tf_idf_weight=weight)
        for penalty in (1e-4, 1e-3)
        for weight in (0.0, 0.75)
    ]
    described = [replace(recipe, kind="described", tf_idf_weight=weight) for weight in (0.0, 0.5)]
    return described + others + linear
