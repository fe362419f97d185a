"""Fakes for router tests: an encoder without a model, and queries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.types import Message, RouteQuery
from router.labelled.prompts import Prompt
from router.model.abstain import AbstainRule
from router.model.artefact import Artefact, Exemplar
from router.model.category_model import CategoryModel
from router.model.follow_up import FollowUpModel
from router.model.layers import LinearLayer
from router.training.training_set import TrainingSet

HIDDEN = 16


def no_follow_ups(hidden: int = HIDDEN) -> FollowUpModel:
    """A model of follow-ups for an encoder of so many dimensions to which every turn stands alone."""
    return FollowUpModel(np.zeros(hidden), np.zeros(hidden + 1), -9.0)


def ask(text: str, expert: str | None = None) -> RouteQuery:
    return RouteQuery((Message("user", text),), expert)


class FakeEncoder:
    """Words to vectors: a text is the normalised sum of a random vector per word. Counts its calls."""

    id = "fake-1"
    source = "fake"
    num_dims = 3 * HIDDEN

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        return np.stack([np.tile(embed(text), 3) for text in texts]).astype(np.float32)


def embed(text: str) -> NDArray[np.float64]:
    total = np.full(HIDDEN, 1e-3)
    for word in text.casefold().encode("utf-8", "replace").decode().split():
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")
        total += np.random.default_rng(seed).normal(size=HIDDEN)
    return total / np.linalg.norm(total)


def toy_prompts(num: int = 30) -> list[Prompt]:
    words = ["red", "green", "blue", "grey", "pink", "gold"]
    topics = {"math": "sum", "sql": "select"}
    return [
        Prompt(f"{topic_word} {words[i % 6]} {words[i // 6]}", topic, f"{topic}{i}")
        for topic, topic_word in topics.items()
        for i in range(num)
    ]


def write_prompts(path: Path, families: Sequence[str] = ()) -> Path:
    """Twenty rows of each of the categories m and s; the families of a category take turns."""
    rows = [
        {"prompt": f"{word} {chr(97 + i)}", "category": category}
        | ({"family": f"{category} {families[i % len(families)]}"} if families else {})
        for category, word in (("m", "sum"), ("s", "select"))
        for i in range(20)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def fake_artefact(**changes: object) -> Artefact:
    """Two categories, each pulled by one word: "select" is sql, "sum" is math."""
    coef = np.stack([np.tile(embed("sum"), 3), np.tile(embed("select"), 3)]).astype(np.float32)
    values: dict[str, object] = {
        "encoder_source": "fake",
        "encoder_id": "fake-1",
        "categories": ("math", "sql"),
        "temperature": 0.2,
        "abstain": AbstainRule(0.8),
        "model": CategoryModel(LinearLayer(coef, np.zeros(2, np.float32))),
        "follow_up": FollowUpModel(
            np.zeros(HIDDEN), np.append(4 * embed("so"), 0.0), -1.0
        ),  # "so" needs what was before
        "exemplars": (Exemplar("a", "s", "math"), Exemplar("b", "s", "sql")),
        "exemplar_vectors": np.stack([embed("sum"), embed("select")]).astype(np.float32),
    }
    return Artefact(**(values | changes))  # type: ignore[arg-type]


def odd_family_set() -> TrainingSet:
    """Three families; "odd" alone says "sum" for sql: a model that saw it would get it right."""
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "pink", "gold", "grey", "teal", "navy"]
    prompts = [
        Prompt(f"{word} {' '.join(rng.choice(words, 3))}", category, family=family)
        for category, family, word in [("math", "a", "sum"), ("sql", "b", "select"), ("sql", "odd", "sum")]
        for _ in range(40)
    ]
    return TrainingSet.of(prompts, FakeEncoder())
