"""A router in shadow decides from the same vectors, and nobody is answered by it, also when it fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from router_fakes import FakeEncoder, ask, fake_artefact

from coe.types import Decision, Message, RouteQuery, ShadowChoice
from router.directory import Directory
from router.model.artefact import ArtefactError
from router.model.category_model import CategoryModel
from router.model.layers import LinearLayer
from router.policy import RoutingPolicy
from router.router import Router
from router.shadow import with_shadow

NAMES = {"general": "general", "sql": "sql", "maths": "maths"}
POLICY = RoutingPolicy(Directory(NAMES, "general"), {"sql": "sql", "math": "maths"})


class FailingModel(CategoryModel):
    """Raises what has a prompt in its message."""

    def logits_around(self, centred: Any, texts: Any) -> Any:
        raise KeyError(texts[0], len(centred))


def swapped() -> CategoryModel:
    """The model that takes "sum" for sql and "select" for math."""
    layer = fake_artefact().model.layer
    assert isinstance(layer, LinearLayer)
    return CategoryModel(LinearLayer(layer.coef[::-1].copy(), layer.intercept))


def shadowed(**changes: object) -> tuple[Router, FakeEncoder]:
    encoder = FakeEncoder()
    router = Router(fake_artefact(), encoder, POLICY)
    router.decide_beside("0002", fake_artefact(**changes), POLICY)
    return router, encoder


def plain(queries: list[RouteQuery]) -> list[Decision]:
    return Router(fake_artefact(), FakeEncoder(), POLICY).route(queries)


QUERIES = [ask("select"), ask("sum"), ask("@sql x"), ask(""), ask("y", expert="maths")]


def test_the_shadow_stands_beside_classified_prompts_and_nothing_is_encoded_twice() -> None:
    router, encoder = shadowed(model=swapped())
    decisions = router.route(QUERIES)
    assert encoder.calls == [["select", "sum"]]
    beside = [decision.shadow and (decision.shadow.expert, decision.shadow.category) for decision in decisions]
    assert beside == [("maths", "math"), ("sql", "sql"), None, None, None]
    assert decisions[0].shadow is not None
    assert decisions[0].shadow.version == "0002"
    assert decisions[0].shadow.confidence == pytest.approx(decisions[0].confidence, abs=0.1)


@pytest.mark.parametrize("changes", [{"model": swapped()}, {"model": FailingModel(fake_artefact().model.layer)}])
def test_decisions_are_those_of_a_router_without_a_shadow(changes: dict[str, object]) -> None:
    router, _ = shadowed(**changes)
    assert [replace(decision, shadow=None) for decision in router.route(QUERIES)] == plain(QUERIES)


def test_a_failure_is_told_without_the_prompt() -> None:
    router, _ = shadowed(model=FailingModel(fake_artefact().model.layer))
    (decision,) = router.route([ask("select a secret")])
    assert decision.shadow is not None
    assert decision.expert == "sql"
    assert decision.shadow.error is not None
    assert decision.shadow.error.startswith("KeyError: in logits_around, line ")
    assert "secret" not in decision.shadow.error


def test_a_shadow_follows_the_conversation_as_it_happened() -> None:
    """The turn before went to sql; the shadow, to which it is math, stays with who really answered a follow-up."""
    router, encoder = shadowed(model=swapped())
    router.route([ask("select")])
    turns = (Message("user", "select"), Message("assistant", "…"), Message("user", "so so so"))
    (decision,) = router.route([RouteQuery(turns)])
    assert decision.shadow is not None
    assert (decision.expert, decision.shadow.expert) == ("sql", "sql")
    assert decision.shadow.why in ("conversation", "category")
    num_encoded = sum(len(texts) for texts in encoder.calls)
    assert num_encoded == len({text for texts in encoder.calls for text in texts})


def test_another_encoder_or_a_policy_for_other_categories_is_refused() -> None:
    router, _ = shadowed()
    with pytest.raises(ArtefactError, match="trained with encoder 'other'"):
        router.decide_beside("0003", fake_artefact(encoder_id="other"), POLICY)
    with pytest.raises(ValueError, match="category 'law'"):
        router.decide_beside("0003", fake_artefact(), replace(POLICY, mapping={"law": "sql"}))


def test_too_few_decisions_of_a_shadow_are_a_failure_of_its_own() -> None:
    decision = Decision("a", "x", 0.9, "category", "t", {"x": 0.9})
    assert with_shadow([decision], "2", lambda: [replace(decision, expert="b")])[0].shadow == ShadowChoice(
        "2", "b", "x", 0.9, "category"
    )
    (failed,) = with_shadow([decision], "2", list)
    assert failed.shadow is not None
    assert failed.shadow.error is not None
    assert failed.expert == "a"
    assert failed.shadow.error.startswith("RuntimeError")
