"""The training loop and the scoring of experts, on a tiny random model."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.demo.encode import IGNORED, Example, answer_states, collate, shared_prefix
from examples.demo.train_expert import Recipe, answer_loss, batches, rate

CPU = torch.device("cpu")


def example(prompt: list[int], answer: list[int]) -> Example:
    return Example(tuple(prompt), tuple(answer), end_id=2)


EXAMPLES = [
    example([5, 6, 7, 8, 9], [10, 11]),
    example([5, 6, 7, 3], [12, 13, 14, 15]),
    example([5, 6, 7, 8, 8, 8, 8], [16]),
]


@pytest.fixture
def model(llama_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float32)


@pytest.fixture
def tokenizer(llama_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(llama_folder)


def loss_of_one(model: Any, one: Example) -> tuple[float, int]:
    """Summed loss on the answer and its end, from the whole sequence at once, and the number of tokens."""
    ids = torch.tensor([[*one.prompt_ids, *one.answer_ids, one.end_id]])
    logits = model(ids).logits[0, len(one.prompt_ids) - 1 : -1]
    losses = functional.cross_entropy(logits, ids[0, len(one.prompt_ids) :], reduction="sum")
    return losses.item(), len(logits)


def test_the_shared_prefix_leaves_the_token_that_predicts() -> None:
    assert shared_prefix(EXAMPLES) == 3
    assert shared_prefix(EXAMPLES[:1]) == 0
    assert shared_prefix([example([5, 6], [1]), example([5, 6], [3])]) == 1


def test_only_answers_and_their_end_are_predicted() -> None:
    batch = collate(EXAMPLES, with_end=True)
    predicted = [labels[labels != IGNORED].tolist() for labels in batch.labels]
    assert predicted == [[10, 11, 2], [12, 13, 14, 15, 2], [16, 2]]
    without_end = collate(EXAMPLES, with_end=False)
    assert [labels[labels != IGNORED].tolist() for labels in without_end.labels] == [[10, 11], [12, 13, 14, 15], [16]]


@torch.no_grad()
def test_loss_of_a_batch_is_that_of_its_rows_alone(model: Any) -> None:
    alone = [loss_of_one(model, one) for one in EXAMPLES]
    expected = sum(loss for loss, _ in alone) / sum(count for _, count in alone)
    assert answer_loss(model, collate(EXAMPLES, with_end=True), CPU).item() == pytest.approx(expected, rel=1e-4)


def test_the_shared_prefix_keeps_its_gradient(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = model.model.layers[0].self_attn.k_proj.weight
    answer_loss(model, collate(EXAMPLES, with_end=True), CPU).backward()
    shared, weight.grad = weight.grad.clone(), None
    monkeypatch.setattr("examples.demo.encode.shared_prefix", lambda _examples: 0)
    answer_loss(model, collate(EXAMPLES, with_end=True), CPU).backward()
    torch.testing.assert_close(shared, weight.grad, rtol=1e-3, atol=1e-5)


def test_states_belong_to_the_rows(model: Any) -> None:
    batch = collate(EXAMPLES, with_end=True)
    assert answer_states(model, batch, CPU).shape[:2] == batch.labels.shape


def test_batches_hold_every_row_once_within_their_budget() -> None:
    rng = random.Random(0)
    rows = [example([1] * rng.randint(2, 30), [2] * rng.randint(1, 30)) for _ in range(100)]
    groups = batches(rows, 128, rng)
    assert sorted(map(id, rows)) == sorted(id(one) for group in groups for one in group)
    assert all(max(one.num_tokens for one in group) * len(group) <= 128 for group in groups)


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    recipe = Recipe(num_rows=1, max_tokens=1, warmup_share=0.1)
    rates = [rate(step, 100, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1.0
    assert rates[-1] < 0.01
    assert rates[9:] == sorted(rates[9:], reverse=True)
