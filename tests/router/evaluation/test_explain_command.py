"""An explanation names categories, doubt and the nearest training prompts."""

from __future__ import annotations

import numpy as np
from router_fakes import FakeEncoder, embed, fake_artefact

from router.evaluation.explain_command import explain
from router.model.abstain import AbstainRule


def test_an_explanation_reads_like_one() -> None:
    text = str(explain(fake_artefact(data={"s": {"license": "MIT"}}), "select", FakeEncoder().encode(["select"])[0]))
    assert text.splitlines()[0].split() == ["sql", "1.000"]
    assert "sure: the category's expert answers" in text
    assert "b (s, MIT)" in text


def test_an_explanation_names_the_nearest_training_prompts() -> None:
    told = explain(fake_artefact(), "select", np.tile(embed("select"), 3).astype(np.float32))
    assert told.probabilities[0][0] == "sql"
    assert told.neighbours[0].id == "b"
    assert told.doubt == ""
    assert "sure" in str(told)
    assert (
        "confidence"
        in explain(
            fake_artefact(abstain=AbstainRule(0.999)),
            "sum select",
            np.tile(embed("sum select"), 3).astype(np.float32),
        ).doubt
    )
