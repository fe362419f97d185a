"""What is read of a text's states, and scores of logits."""

from __future__ import annotations

import pytest
import torch

from coe.models.pooled import normalised, pooled, score

STATES = torch.tensor([[1.0, -2.0], [3.0, 4.0], [5.0, 0.0]])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("mean", [3.0, 2 / 3]), ("max", [5.0, 4.0]), ("cls", [1.0, -2.0]), ("lasttoken", [5.0, 0.0])],
)
def test_states_are_pooled(mode: str, expected: list[float]) -> None:
    torch.testing.assert_close(pooled(STATES, mode), torch.tensor(expected))  # type: ignore[arg-type]


def test_a_vector_of_length_one() -> None:
    torch.testing.assert_close(normalised(torch.tensor([3.0, 4.0])), torch.tensor([0.6, 0.8]))


def test_a_score_is_a_probability_or_the_logit() -> None:
    one, two = torch.tensor([0.5]), torch.tensor([0.0, 2.0])
    torch.testing.assert_close(score(one, "logit"), one)
    torch.testing.assert_close(score(one, "sigmoid"), torch.sigmoid(one))
    torch.testing.assert_close(score(two, "second"), torch.sigmoid(torch.tensor([2.0])))
