"""`[router]` becomes a router in one call: what classifies, what loads torch, whose word counts, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from coe.assembly.router import build_router, check_answer_cache, check_router
from coe.config.schema import AnswerCacheConfig, RouterConfig, RuleConfig
from coe.errors import ConfigError
from coe.types import Message, RouteQuery
from router import GeneralOnly, Router
from router.model.artefact import load_artefact
from router.model.versions import Versions, version_folder, write_versions

NAMES = {"general": "general", "code": "code", "coder": "code", "maths": "maths"}
CODE = "Write a Python function that reverses a linked list."


def query(text: str, expert: str | None = None) -> RouteQuery:
    return RouteQuery((Message("user", text),), expert)


def test_categories_go_to_the_experts_of_their_name_or_alias() -> None:
    router = build_router(RouterConfig("general"), {**NAMES, "math": "maths"})
    assert isinstance(router, Router)
    assert router.policy.mapping == {"code": "code", "math": "maths", "general": "general"}
    assert router.route([query(CODE)])[0].expert == "code"


def test_the_configurations_categories_come_before_the_mapping_file_and_that_before_names(tmp_path: Path) -> None:
    """Whatever the spelling: `Code` in a mapping file once came before `code` in the configuration."""
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps({"mapping": {"Code": "maths", "Sql": "maths"}}))
    named = {**NAMES, "sql": "code"}
    router = build_router(RouterConfig("general", mapping=file, categories={"code": "general"}), named)
    assert isinstance(router, Router)
    assert router.policy.mapping == {"code": "general", "sql": "maths", "general": "general"}


def test_without_a_classifier_names_mentions_and_rules_decide() -> None:
    rules = (RuleConfig(keyword=("invoice",), expert="code"),)
    router = build_router(RouterConfig("general", enabled=False, rules=rules), NAMES)
    assert isinstance(router, GeneralOnly)
    asked = [query(CODE), query("@coder hello"), query("an invoice"), query("hello", "MATHS")]
    assert [decision.expert for decision in router.route(asked)] == ["general", "code", "code", "maths"]


def test_decisions_carry_vectors_where_the_answer_cache_compares_them() -> None:
    for answer_cache, carries in (
        (None, False),
        (AnswerCacheConfig(enabled=True), False),
        (AnswerCacheConfig(semantic={"code": 0.9}), False),
        (AnswerCacheConfig(enabled=True, semantic={"code": 0.9}), True),
    ):
        router = build_router(RouterConfig("general"), NAMES, answer_cache)
        assert bool(router.route([query(CODE)])[0].vectors) is carries


def test_one_expert_needs_no_classifier() -> None:
    assert isinstance(build_router(RouterConfig("only"), {"only": "only", "alias": "only"}), GeneralOnly)


def test_neither_building_without_a_classifier_nor_checking_imports_torch() -> None:
    code = """
import sys
from coe.assembly.router import build_router, check_answer_cache, check_router
from coe.config.schema import AnswerCacheConfig, RouterConfig
check_router(RouterConfig("a"), {"a": "a", "b": "b"})
build_router(RouterConfig("a", enabled=False), {"a": "a", "b": "b"})
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("check", [build_router, check_router])
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (RouterConfig("general", categories={"poetry": "code"}), r"\[router\] category 'poetry': the router does not"),
        (RouterConfig("general", rules=(RuleConfig(expert="code"),)), r"\[router\] rule 1 has no condition"),
        (RouterConfig("general", artefact=Path("/nowhere")), r"\[router\] .*/nowhere"),
        (RouterConfig("general", mapping=Path("/nowhere.json")), r"\[router\] .*/nowhere.json"),
    ],
)
def test_the_routers_complaints_are_about_the_configuration(check: object, config: RouterConfig, expected: str) -> None:
    assert callable(check)
    with pytest.raises(ConfigError, match=expected):
        check(config, NAMES)


def test_a_threshold_needs_a_category_that_the_router_has() -> None:
    check_answer_cache(AnswerCacheConfig(), RouterConfig("general", enabled=False), NAMES)
    check_answer_cache(AnswerCacheConfig(semantic={"math": 0.9}), RouterConfig("general"), NAMES)
    with pytest.raises(ConfigError, match=r"\[answer_cache.semantic\] maths = 0.95: .* did you mean 'math'\?"):
        check_answer_cache(AnswerCacheConfig(semantic={"maths": 0.95}), RouterConfig("general"), NAMES)
    with pytest.raises(ConfigError, match="the router sorts no prompts here"):
        check_answer_cache(AnswerCacheConfig(semantic={"math": 0.9}), RouterConfig("general", enabled=False), NAMES)


def test_a_described_expert_gets_its_prompts_and_the_others_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COE_CACHE", str(tmp_path))
    examples = tmp_path / "examples.jsonl"
    rows = [{"prompt": "How do I castle in chess?", "category": "chess"}, {"prompt": "no category"}]
    examples.write_text("\n".join(map(json.dumps, rows)))
    told = {"garden": "Plants, lawns and pests, what to sow when.", "chess": "Chess: openings, tactics, endgames."}
    config = RouterConfig("general", descriptions=told, examples=examples)
    router = build_router(config, {**NAMES, "garden": "garden", "chess": "chess"})
    asked = [
        "When should I sow tomatoes?",
        "May I castle through check in chess?",
        CODE,
        "What is the capital of Peru?",
    ]
    decisions = router.route([query(text) for text in asked])
    assert [decision.expert for decision in decisions] == ["garden", "chess", "code", "general"]
    assert {"garden", "chess", "code"} <= set(decisions[0].probabilities)
    assert sum(decisions[0].probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_examples_without_descriptions_and_of_nobody_are_refused(tmp_path: Path) -> None:
    examples = tmp_path / "examples.jsonl"
    examples.write_text('{"prompt": "a", "category": "garden"}')
    with pytest.raises(ConfigError, match="no expert has a description"):
        check_router(RouterConfig("general", examples=examples), NAMES)
    with pytest.raises(ConfigError, match="category 'garden', which is no expert with a description"):
        check_router(RouterConfig("general", descriptions={"code": "Programs."}, examples=examples), NAMES)


def versions_in(folder: Path, **changes: object) -> Path:
    """The shipped router as version 1, served, and one with these changes as version 2, in shadow."""
    learned = load_artefact()
    learned.save(version_folder(folder, "0001"))
    replace(learned, **changes).save(version_folder(folder, "0002"))  # type: ignore[arg-type]
    write_versions(folder, Versions("0001", "0002"))
    return folder


def test_a_version_in_shadow_decides_beside_the_served_one_and_the_start_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    categories = load_artefact().categories
    turned = (*categories[1:], categories[0])  # of every prompt the shadow says the category before
    folder = versions_in(tmp_path, categories=turned)
    with caplog.at_level("INFO", "coe.assembly"):
        router = build_router(RouterConfig("general", artefact=folder), NAMES)
    assert f"router artefact={folder} version=0001 shadow=0002" in caplog.messages
    (decision,) = router.route([query(CODE)])
    assert (decision.category, decision.expert) == ("code", "code")
    assert decision.shadow is not None
    assert decision.shadow.version == "0002"
    assert decision.shadow.category == turned[categories.index("code")]
    assert decision.shadow.confidence == pytest.approx(decision.confidence)
    check_router(RouterConfig("general", artefact=folder), NAMES)


@pytest.mark.parametrize("check", [build_router, check_router])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"encoder_id": "another"}, "version 0002, which is in shadow, cannot be used: trained with encoder 'another'"),
        ({"categories": tuple("abcdefghijklm")}, "version 0002, which is in shadow, .* category 'code'"),
    ],
)
def test_a_shadow_that_cannot_decide_beside_the_served_version_is_refused_with_the_way_out(
    tmp_path: Path, check: object, changes: dict[str, object], expected: str
) -> None:
    folder = versions_in(tmp_path, **changes)
    config = RouterConfig("general", artefact=folder, categories={"code": "code"})
    assert callable(check)
    with pytest.raises(ConfigError, match=expected) as refused:
        check(config, NAMES)
    assert "coe router rollback FOLDER --shadow" in str(refused.value)
    write_versions(folder, Versions("0001"))
    check(config, NAMES)


def test_versions_are_not_looked_at_where_nothing_needs_a_category(tmp_path: Path) -> None:
    (tmp_path / "versions.json").write_text("damaged")
    config = RouterConfig("general", artefact=tmp_path)
    assert isinstance(build_router(replace(config, enabled=False), NAMES), GeneralOnly)
    with pytest.raises(ConfigError, match=r"\[router\] .*versions.json cannot be read"):
        check_router(config, NAMES)
