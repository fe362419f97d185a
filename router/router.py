"""The router itself: queries in, decisions out.

Owns the order of work: rules first, then one encoder call for all that is left, then the pure decision. Knows nothing
about servers or how experts run. torch is imported by `Router.load` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from router.artefact import DEFAULT_FOLDER, Artefact
from router.decision import Decision, Directory, Query, decide_category, last_user_turn
from router.mapping import checked_mapping
from router.scores import Scores, score

__all__ = ["GeneralOnly", "Router", "TextEncoder"]


class TextEncoder(Protocol):
    """Texts to vectors (n, dims); `id` names the weights."""

    @property
    def id(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class Router:
    """A trained classifier, a mapping, and the names of the experts."""

    def __init__(
        self, artefact: Artefact, encoder: TextEncoder, mapping: Mapping[str, str], directory: Directory
    ) -> None:
        artefact.check_encoder(encoder.id)
        self.artefact = artefact
        self.mapping = checked_mapping(mapping, artefact.categories, directory)
        self._encoder = encoder
        self._directory = directory

    @classmethod
    def load(
        cls,
        artefact: Path | None = None,
        *,
        mapping: Mapping[str, str],
        general: str,
        names: Mapping[str, str],
        min_confidence: float | None = None,
        device: str = "cpu",
    ) -> Self:
        """Load a trained router, the shipped one by default, and its encoder.

        `mapping` is category -> expert; categories it leaves out go to `general`. `names` is every accepted name or
        alias -> expert. `min_confidence` replaces the threshold that the artefact was calibrated to.

        Raises:
            ValueError: an unknown category or expert, or an artefact that cannot be used.
        """
        directory = Directory(names, general)
        learned = Artefact.load(artefact or DEFAULT_FOLDER)
        if min_confidence is not None:
            learned = replace(learned, abstain=replace(learned.abstain, min_confidence=min_confidence))
        checked_mapping(mapping, learned.categories, directory)  # say so before the encoder is loaded
        from router.encoder import Encoder  # torch

        return cls(learned, Encoder(learned.encoder_source, device=device), mapping, directory)

    @property
    def categories(self) -> tuple[str, ...]:
        """What prompts are sorted into."""
        return self.artefact.categories

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        """Return one decision per query, with one encoder call for all that need one.

        Raises:
            ValueError: a query names an expert that nobody knows.
        """
        decisions = [self._directory.before_classifying(query) for query in queries]
        texts = [
            last_user_turn(query.messages)
            for query, decision in zip(queries, decisions, strict=True)
            if decision is None
        ]
        classified = iter(self._classify(texts) if texts else [])
        return [decision or next(classified) for decision in decisions]

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and similarities of texts, before any decision."""
        return score(self.artefact, self._encoder.encode(texts), texts)

    def _classify(self, texts: Sequence[str]) -> list[Decision]:
        scores = self.scores(texts)
        is_sure = self.artefact.abstain.is_sure(scores.probabilities.max(axis=1), scores.similarity)
        return [
            decide_category(
                text,
                dict(zip(self.categories, row.tolist(), strict=True)),
                bool(sure),
                self.mapping,
                self._directory.general,
            )
            for text, row, sure in zip(texts, scores.probabilities, is_sure, strict=True)
        ]


class GeneralOnly:
    """A router without a classifier: the expert asked for or mentioned, else the general one. Loads no torch."""

    categories: tuple[str, ...] = ()

    def __init__(self, *, general: str, names: Mapping[str, str]) -> None:
        self._directory = Directory(names, general)

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        """Return one decision per query; raises ValueError for an expert nobody knows."""
        return [self._decide(query) for query in queries]

    def _decide(self, query: Query) -> Decision:
        general = Decision(self._directory.general, None, None, "general", last_user_turn(query.messages))
        return self._directory.before_classifying(query) or general
