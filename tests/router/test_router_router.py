"""The router over a fake encoder: one call per batch, the same alone and together."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from router.abstain import AbstainRule
from router.artefact import ArtefactError
from router.decision import Directory
from router.router import Router
from tests.router.router_fakes import FakeEncoder, ask, fake_artefact

DIRECTORY = Directory({"general": "general", "db": "sql"}, "general")


def make(mapping: dict[str, str] | None = None, **changes: object) -> tuple[Router, FakeEncoder]:
    encoder = FakeEncoder()
    return Router(fake_artefact(**changes), encoder, {"sql": "sql"} if mapping is None else mapping, DIRECTORY), encoder


def test_one_encoder_call_for_all_that_need_one() -> None:
    router, encoder = make()
    decisions = router.route([ask("select"), ask("@db x"), ask(""), ask("sum"), ask("y", expert="sql")])
    assert encoder.calls == [["select", "sum"]]
    assert [d.why for d in decisions] == ["category", "mention", "general", "category", "model"]
    assert [d.expert for d in decisions] == ["sql", "sql", "general", "general", "sql"]


def test_nothing_to_classify_asks_the_encoder_nothing() -> None:
    router, encoder = make()
    assert [d.expert for d in router.route([ask("@db x"), ask("  \n")])] == ["sql", "general"]
    assert encoder.calls == []
    assert router.route([]) == []


def test_alone_and_in_a_batch_agree() -> None:
    router, _ = make()
    texts = ["select all", "sum of it", "the weather", "select sum"]
    together = router.route([ask(text) for text in texts])
    for text, decision in zip(texts, together, strict=True):
        (alone,) = router.route([ask(text)])
        assert alone.expert == decision.expert
        assert alone.probabilities == pytest.approx(decision.probabilities, abs=1e-5)


def test_probabilities_cover_every_category_and_sum_to_one() -> None:
    router, _ = make()
    (decision,) = router.route([ask("select")])
    assert tuple(decision.probabilities) == router.categories == ("math", "sql")
    assert sum(decision.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert decision.confidence == max(decision.probabilities.values())


def test_unlike_anything_seen_is_doubt_even_with_confidence() -> None:
    router, _ = make(abstain=AbstainRule(0.0, 0.99))
    (decision,) = router.route([ask("select the weather in Oslo please and thank you")])
    assert (decision.expert, decision.why) == ("general", "abstain")


def test_categories_are_matched_in_any_case() -> None:
    router, _ = make({"SQL": "DB"})
    assert router.mapping == {"sql": "sql"}


def test_an_unknown_category_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="category 'poetry': the router does not have it; its categories: math, sql"):
        make({"poetry": "sql"})


def test_a_mapping_to_an_unknown_expert_is_refused() -> None:
    with pytest.raises(
        ValueError, match="category 'sql' maps to 'oracle': no such expert; known experts: general, sql"
    ):
        make({"sql": "oracle"})


def test_an_artefact_of_another_encoder_is_refused() -> None:
    with pytest.raises(ArtefactError, match="trained with encoder 'other-2', but 'fake-1' was loaded"):
        make(encoder_id="other-2")


def test_a_vector_that_is_not_a_number_is_doubt() -> None:
    router, encoder = make()
    encoder.encode = lambda texts: np.full((len(texts), 48), np.nan, np.float32)  # type: ignore[method-assign]
    assert router.route([ask("select")])[0].why == "abstain"


def test_importing_the_router_and_routing_by_name_loads_no_torch() -> None:
    code = (
        "import sys; from router import GeneralOnly; GeneralOnly(general='a', names={'a': 'a'}).route([]); "
        "print([name for name in ('torch', 'transformers', 'sklearn') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
