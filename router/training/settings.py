"""The recipe of a training: kind of classifier, penalties, weights, thresholds' targets.

Owns the settings, the shipped ones, and the candidates that `--choose` compares. Knows nothing about prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.training.authored import PLAIN_FAMILY, TEMPLATE_FAMILY

__all__ = ["DEFAULTS", "SHIPPED", "Settings", "candidates_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The recipe.

    `kind` is "linear" (softmax regression) or "neighbours". `penalty` is the L2 penalty against the mean loss
    (scikit-learn's C is 1 / (penalty * n)), `words_penalty` that of the words' model, which is added at `words_weight`
    (0: no words). `abstain_target` is the share of in-domain prompts that may abstain, of families held out where there
    are several. `family_boosts` weighs families against the others of their category.
    """

    kind: str = "linear"
    penalty: float = 1e-3
    words_weight: float = 1.0
    words_penalty: float = 1e-4
    num_neighbours: int = 15
    abstain_target: float = 0.05
    num_exemplars: int = 3000
    num_folds: int = 5
    seed: int = 0
    family_boosts: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """What a table of recipes calls this one."""
        of_vectors = (
            f"linear, penalty {self.penalty:g}" if self.kind == "linear" else f"{self.num_neighbours} neighbours"
        )
        return f"{of_vectors}, words at {self.words_weight:g}" if self.words_weight else of_vectors

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "neighbours"):
            raise ValueError(f"kind '{self.kind}': a classifier is linear or neighbours")


DEFAULTS = Settings()
SHIPPED = Settings(abstain_target=0.08, family_boosts=((TEMPLATE_FAMILY, 3.0), (PLAIN_FAMILY, 3.0)))


def candidates_of(settings: Settings) -> list[Settings]:
    """Return what `--choose` compares: neighbours, and softmax regressions of several penalties, with words or not."""
    neighbours = [replace(settings, kind="neighbours", words_weight=weight) for weight in (0.0, 1.0)]
    linear = [
        replace(settings, kind="linear", penalty=penalty, words_weight=weight)
        for penalty in (1e-3, 3e-3)
        for weight in (0.0, 0.5, 1.0)
    ]
    return neighbours + linear
