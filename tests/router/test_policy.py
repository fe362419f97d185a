"""The decision is a pure function: order, doubt, price of a switch, conversation, alternatives."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from router_fakes import ask

from coe.types import Decision, Message, RouteQuery, Snapshot
from router.directory import Directory
from router.mapping import MappingFile
from router.policy import RoutingPolicy
from router.rules import Rule, Rules
from router.switch_price import SwitchPrice
from router.turn import Previous, Turn

EXPERTS = ("general", "sql", "maths", "small")
DIRECTORY = Directory({name: name for name in EXPERTS}, "general")
MAPPING = {"sql": "sql", "math": "maths"}
SCORES = {
    "sql": {"sql": 0.80, "maths": 0.78, "small": 0.75, "general": 0.10},
    "math": {"sql": 0.20, "maths": 0.60, "small": 0.59, "general": 0.30},
}
ACTIVE = {"sql": 2.0, "maths": 4.0, "small": 1.0, "general": 2.0}
NOWHERE = Snapshot(dict.fromkeys(EXPERTS, 2.0))  # seconds of loading


def policy(
    score_per_second: float = 0.0, stickiness: float = 0.5, active_b: dict[str, float] | None = None, **more: object
) -> RoutingPolicy:
    price = SwitchPrice(score_per_second, MappingFile(MAPPING, SCORES, active_b or {}))
    return RoutingPolicy(DIRECTORY, MAPPING, price=price, stickiness=stickiness, **more)  # type: ignore[arg-type]


def turn(sql: float, math: float, doubt: str = "", follow_up: float = 0.0) -> Turn:
    return Turn("a turn", {"sql": sql, "math": math, "law": 1 - sql - math}, doubt, follow_up=follow_up)


SURE = turn(1.0, 0.0)


def resident(*names: str) -> Snapshot:
    return Snapshot({name: 0.0 if name in names else 2.0 for name in EXPERTS})


# -- category and doubt


def test_doubt_keeps_the_category_and_asks_the_general_expert() -> None:
    decision = policy().decide(turn(0.6, 0.3, "confidence 0.600 is below 0.700"), NOWHERE)
    assert (decision.expert, decision.category, decision.confidence, decision.why) == ("general", "sql", 0.6, "abstain")
    assert decision.because == "confidence 0.600 is below 0.700, general answers"


def test_a_category_without_an_expert_goes_to_the_general_one() -> None:
    decision = policy().decide(turn(0.1, 0.1), NOWHERE)
    assert (decision.expert, decision.category, decision.why) == ("general", "law", "category")
    assert decision.because == "category law at 0.80, which has no expert"


# -- the price of a switch


def test_a_gain_below_the_price_of_a_load_is_left_out_and_the_sentence_says_why() -> None:
    decision = policy(0.02).decide(SURE, resident("maths"))
    assert (decision.expert, decision.why, decision.instead_of) == ("maths", "cost", "sql")
    assert decision.because == (
        "category sql at 1.00; maths is expected to score 0.780 at once where sql scores 0.800 after 2.00 s of loading"
    )
    assert decision.cost is not None
    assert (decision.cost.mapped, decision.cost.chosen) == ("sql", "maths")


def test_a_load_that_its_gain_pays_for_is_made() -> None:
    decision = policy(0.02).decide(SURE, resident("general"))
    assert (decision.expert, decision.why, decision.instead_of) == ("sql", "category", None)
    assert decision.cost is not None


def test_nothing_is_weighed_when_it_is_off() -> None:
    assert policy(0.0).decide(SURE, resident("maths")).cost is None


def test_doubt_is_never_overruled_by_the_price() -> None:
    assert policy(1.0).decide(turn(0.6, 0.3, "doubt"), resident("maths")).expert == "general"


# -- conversation


@pytest.mark.parametrize(
    ("turned", "stickiness", "expert"),
    [
        (turn(0.1, 0.8, follow_up=0.4), 0.5, "maths"),  # it stands alone
        (turn(0.1, 0.8, follow_up=0.6), 0.5, "sql"),  # it needs the turn before
        (turn(0.1, 0.8, follow_up=0.5), 0.5, "maths"),  # exactly
        (turn(0.1, 0.8, follow_up=0.4), 0.7, "sql"),  # stickier
        (turn(0.0, 0.9, "doubt", 0.4), 0.5, "general"),  # a new topic, and unsure which
        (turn(0.0, 0.9, "doubt", 0.6), 0.5, "sql"),
        (turn(0.1, 0.8, follow_up=1.0), 0.0, "maths"),  # off
        (turn(0.1, 0.8, follow_up=0.01), 1.0, "sql"),
        (Turn("", {}, "", follow_up=1.0), 0.5, "sql"),  # nothing to classify
    ],
)
def test_a_turn_stays_when_it_needs_the_turn_before(turned: Turn, stickiness: float, expert: str) -> None:
    decision = policy(stickiness=stickiness).decide(turned, NOWHERE, Previous("sql"))
    assert decision.expert == expert
    assert (decision.why == "conversation") is (expert == "sql")


def test_staying_says_why() -> None:
    decision = policy().decide(turn(0.3, 0.6, follow_up=0.9), NOWHERE, Previous("sql"))
    assert decision.because == "a follow-up stays with sql: it needs the turn before with 0.90"
    assert decision.instead_of == "maths"
    same = policy().decide(turn(0.3, 0.6), NOWHERE, Previous("small", "math"))
    assert same.because == "a follow-up stays with small: its topic is the same"


def test_a_conversation_stays_with_a_resident_choice_whatever_is_resident_now() -> None:
    decision = policy(0.05).decide(SURE, resident("sql"), Previous("sql"))
    assert (decision.expert, decision.why) == ("sql", "category")
    assert policy(0.05).decide(turn(0.5, 0.4), resident("maths"), Previous("sql", "sql")).expert == "sql"


def test_a_resident_stand_in_keeps_the_conversation_it_was_chosen_for() -> None:
    """Every clear follow-up left it: its own categories were likely for nothing, since it has another."""
    ours = policy(0.05)
    first = ours.decide(SURE, resident("maths"))
    assert (first.expert, first.why) == ("maths", "cost")
    previous = ours.after(first, None)
    assert previous == Previous("maths", "sql")
    second = ours.decide(turn(0.95, 0.0), resident("sql"), previous)
    assert (second.expert, second.why) == ("maths", "conversation")
    assert ours.after(second, previous) == previous
    assert ours.decide(Turn("a turn about the law of the sea", {"law": 1.0}, ""), NOWHERE, previous).expert == "general"


def test_only_a_clear_category_is_a_conversations_topic() -> None:
    ours = policy()
    unsure = ours.decide(turn(0.6, 0.3, "doubt"), NOWHERE)
    assert ours.after(unsure, None) == Previous("general", None)
    assert ours.after(ours.decide(turn(0.9, 0.1), NOWHERE), None) == Previous("sql", "sql")
    named = ours.before_classifying(ask("@maths x"))
    assert named is not None
    assert ours.after(named, None) == Previous("maths", None)


def test_a_conversation_does_not_stay_with_a_broken_expert() -> None:
    decision = policy().decide(turn(0.3, 0.6), Snapshot(broken={"sql"}), Previous("sql"))
    assert (decision.expert, decision.why) == ("maths", "category")


# -- who answers where the expert cannot


@pytest.mark.parametrize(
    ("turned", "broken", "expert", "alternatives"),
    [
        (turn(0.7, 0.2), (), "sql", ("maths", "general")),  # the next likeliest, then general
        (turn(0.3, 0.6), (), "maths", ("sql", "general")),
        (turn(0.7, 0.2), ("maths",), "sql", ("general",)),  # a broken one is passed by
        (turn(0.7, 0.2), ("sql",), "sql", ("maths", "general")),  # the chosen one may be back by then
        (turn(0.7, 0.1), (), "sql", ("general",)),  # law, which has no expert, is likelier than maths
        (turn(0.1, 0.2), (), "general", ("maths",)),
        (turn(0.1, 0.2), ("maths", "general"), "general", ("sql",)),
        (turn(0.6, 0.3, "doubt"), (), "general", ("sql",)),
        (Turn("", {}, ""), (), "general", ()),
    ],
)
def test_the_next_likeliest_expert_that_is_not_broken_answers_instead_and_then_the_general_one(
    turned: Turn, broken: tuple[str, ...], expert: str, alternatives: tuple[str, ...]
) -> None:
    decision = policy(stickiness=0.0).decide(turned, Snapshot(broken=broken))
    assert (decision.expert, decision.alternatives) == (expert, alternatives)


def test_general_is_the_last_alternative_even_if_it_is_broken() -> None:
    assert policy().decide(turn(0.7, 0.2), Snapshot(broken={"maths", "general"})).alternatives == ("general",)


def test_a_kept_conversation_and_a_resident_choice_have_alternatives_of_their_own() -> None:
    stays = policy().decide(turn(0.4, 0.5, follow_up=0.9), NOWHERE, Previous("sql"))
    assert (stays.why, stays.expert, stays.alternatives) == ("conversation", "sql", ("maths", "general"))
    near = policy(0.02).decide(SURE, resident("maths"))
    assert (near.why, near.expert, near.alternatives) == ("cost", "maths", ("sql", "general"))


def test_a_rules_alternative_is_the_general_expert_and_a_named_expert_has_none() -> None:
    ruled = policy(rules=Rules([Rule(expert="sql", keywords=("table",))]))
    by_rule = ruled.before_classifying(ask("a table"))
    assert by_rule is not None
    assert (by_rule.expert, by_rule.why, by_rule.alternatives) == ("sql", "rule", ("general",))
    for query in (ask("x", "sql"), ask("@sql x")):
        named = ruled.before_classifying(query)
        assert named is not None
        assert (named.expert, named.alternatives) == ("sql", ())


# -- order


def test_the_order_is_model_mention_rule_router() -> None:
    ruled = policy(rules=Rules([Rule(expert="small", keywords=("table",)), Rule(category="MATH", has_tools=True)]))
    ruled = ruled.checked(("sql", "math", "law"))

    def why(query: RouteQuery) -> tuple[str, str] | None:
        decision = ruled.before_classifying(query)
        return None if decision is None else (decision.why, decision.expert)

    assert why(ask("@sql a table", expert="maths")) == ("model", "maths")
    assert why(ask("@sql a table")) == ("mention", "sql")
    assert why(replace(ask("a table"), has_tools=True)) == ("rule", "small")
    assert why(replace(ask("x"), has_tools=True)) == ("rule", "maths")
    assert why(ask("x")) is None


def test_a_rule_that_names_a_category_takes_its_expert_and_the_price_of_loading_it() -> None:
    ruled = policy(0.02, rules=Rules([Rule(category="sql", keywords=("rows",))]))
    decision = ruled.before_classifying(RouteQuery((Message("user", "count rows"),), snapshot=resident("maths")))
    assert decision is not None
    assert (decision.expert, decision.category, decision.why, decision.rule) == ("maths", "sql", "rule", 1)
    assert decision.because.startswith("rule 1: keyword 'rows', category sql; maths is expected to score 0.780")


# -- purity


def test_the_same_scores_snapshot_and_previous_decision_give_the_same_decision() -> None:
    """Random inputs through fresh and used policies, in another order: nothing is remembered."""
    rng = random.Random(0)
    used = policy(0.05, 0.4, ACTIVE)
    cases = []
    for _ in range(300):
        weights = [rng.random() ** 3 for _ in range(3)]
        sql, math = weights[0] / sum(weights), weights[1] / sum(weights)
        state = Snapshot({name: rng.choice((0.0, 2.0)) for name in EXPERTS}, {"sql"} if rng.random() < 0.2 else ())
        previous = Previous(rng.choice(EXPERTS)) if rng.random() < 0.5 else None
        cases.append((turn(sql, math, rng.choice(("", "doubt")), rng.random()), state, previous))
    first: list[Decision] = [used.decide(*case) for case in cases]
    again = [used.decide(*case) for case in reversed(cases)]
    fresh = [policy(0.05, 0.4, ACTIVE).decide(*case) for case in cases]
    assert first == again[::-1] == fresh
    assert {decision.why for decision in first} == {"category", "cost", "conversation", "abstain"}
    for decision, (_, snapshot, _) in zip(first, cases, strict=True):
        chain = (decision.expert, *decision.alternatives)
        assert len(set(chain)) == len(chain) <= 3
        assert "general" in chain
        assert not set(decision.alternatives) & set(snapshot.broken)


# -- what is refused


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_values_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"stickiness .*: must lie in 0 to 1"):
        policy(stickiness=value)
