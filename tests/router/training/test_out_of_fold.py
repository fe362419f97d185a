"""A recipe is chosen by families held out."""

from __future__ import annotations

from router_fakes import odd_family_set

from router.training.out_of_fold import choose
from router.training.recipe import Recipe, candidates_of


def test_the_recipe_is_chosen_by_families_held_out() -> None:
    training_set = odd_family_set()
    candidates = candidates_of(Recipe(num_exemplars=20, num_folds=2))
    best, figures = choose(training_set, candidates)
    assert len(figures) == len(candidates)
    assert figures[candidates.index(best)] == max(figures)
