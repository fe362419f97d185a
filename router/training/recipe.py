"""The recipe of a training: kind of classifier, penalties, weights, and the target of the abstain rule.

Owns its values, those of the shipped router, and the candidates that `--choose` compares. Knows nothing about prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.training.authored import PLAIN_FAMILY, TEMPLATE_FAMILY

__all__ = ["DEFAULTS", "SHIPPED", "Recipe", "candidates_of"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a router is trained.

    `kind` is "linear" (softmax regression) or "neighbours". `penalty` is the L2 penalty against the mean loss
    (scikit-learn's C is 1 / (penalty * n)). `tf_idf_penalty` is that of the regression over TF-IDF, whose logits are
    added at `tf_idf_weight` (0: no TF-IDF). `abstain_target` is the share of in-domain prompts that may abstain,
    measured on families held out where a category has several. `family_boosts` multiplies the weight of a family among
    those of its category.
    """

    kind: str = "linear"
    penalty: float = 1e-3
    tf_idf_weight: float = 1.0
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
        of_vectors = (
            f"linear, penalty {self.penalty:g}" if self.kind == "linear" else f"{self.num_neighbours} neighbours"
        )
        return f"{of_vectors}, TF-IDF at {self.tf_idf_weight:g}" if self.tf_idf_weight else of_vectors

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "neighbours"):
            raise ValueError(f"kind '{self.kind}': must be linear or neighbours")


DEFAULTS = Recipe()
SHIPPED = Recipe(abstain_target=0.08, family_boosts=((TEMPLATE_FAMILY, 3.0), (PLAIN_FAMILY, 3.0)))


def candidates_of(recipe: Recipe) -> list[Recipe]:
    """Return what `--choose` compares: both kinds, two penalties, with and without TF-IDF."""
    neighbours = [replace(recipe, kind="neighbours", tf_idf_weight=weight) for weight in (0.0, 1.0)]
    linear = [
        replace(recipe, kind="linear", penalty=penalty, tf_idf_weight=weight)
        for penalty in (1e-3, 3e-3)
        for weight in (0.0, 0.5, 1.0)
    ]
    return neighbours + linear
