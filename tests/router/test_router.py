"""The router over a fake encoder: one call per batch, the same alone and together."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from router_fakes import FakeEncoder, ask, fake_artefact

from coe.errors import UnknownExpertError
from coe.types import Message, RouteQuery, Snapshot
from router import GeneralOnly
from router.directory import Directory
from router.mapping import MappingFile
from router.model.abstain import AbstainRule
from router.model.artefact import ArtefactError
from router.policy import RoutingPolicy
from router.router import Router
from router.switch_price import SwitchPrice

UNSURE = "why so why so why so why so"  # to this encoder half sql, half math
NAMES = {"general": "general", "db": "sql"}
DIRECTORY = Directory(NAMES, "general")


def make(mapping: dict[str, str] | None = None, **changes: object) -> tuple[Router, FakeEncoder]:
    return with_policy(RoutingPolicy(DIRECTORY, {"sql": "sql"} if mapping is None else mapping), **changes)


def with_policy(policy: RoutingPolicy, **changes: object) -> tuple[Router, FakeEncoder]:
    encoder = FakeEncoder()
    return Router(fake_artefact(**changes), encoder, policy, shows_vectors=True), encoder


def chat(*contents: str, **more: object) -> RouteQuery:
    """A conversation: user, assistant, user, …"""
    roles = ("user", "assistant")
    return RouteQuery(tuple(Message(roles[at % 2], content) for at, content in enumerate(contents)), **more)  # type: ignore[arg-type]


def test_one_encoder_call_for_all_that_need_one() -> None:
    router, encoder = make()
    decisions = router.route([ask("select"), ask("@db x"), ask(""), ask("sum"), ask("y", expert="sql")])
    assert encoder.calls == [["select", "sum"]]
    assert [d.why for d in decisions] == ["category", "mention", "general", "category", "model"]
    assert [d.expert for d in decisions] == ["sql", "sql", "general", "general", "sql"]


def test_a_decision_has_what_the_encoder_saw_and_no_other_has_any() -> None:
    router, encoder = make()
    sorted_, mentioned, named = router.route([ask("select it"), ask("@db x"), ask("y", expert="sql")])
    assert len(encoder.calls) == 1
    parts = [np.frombuffer(part, np.float32) for part in sorted_.vectors]
    assert np.concatenate(parts) == pytest.approx(encoder.encode(["select it"])[0], abs=1e-6)
    assert len(parts) == 3
    assert mentioned.vectors == named.vectors == ()
    silent = Router(router.artefact, encoder, router.policy)
    assert silent.route([ask("select it")])[0].vectors == ()  # nobody compares them


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


def test_too_little_confidence_is_doubt() -> None:
    router, _ = make(abstain=AbstainRule(0.5, (0.0, 0.0, 0.0, 0.0, 0.0), -2.0))
    (decision,) = router.route([ask("select")])
    assert (decision.expert, decision.why) == ("general", "abstain")
    assert decision.confidence == pytest.approx(0.1192, abs=1e-4)
    assert decision.probabilities["sql"] > 0.9


def test_the_system_turn_is_read_with_the_users() -> None:
    router, encoder = make()
    system = Message("system", "select select select")
    (decision,) = router.route([RouteQuery((system, Message("user", "the weather")))])
    assert (decision.expert, decision.text) == ("sql", "the weather")
    assert encoder.calls == [["select select select\n\nthe weather"]]


def test_categories_are_matched_in_any_case() -> None:
    router, _ = make({"SQL": "DB"})
    assert router.policy.mapping == {"sql": "sql"}


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


# -- conversations


def test_a_follow_up_without_a_topic_stays_and_a_new_topic_moves() -> None:
    router, _ = make()
    stays, moves = router.route([chat("select", "SELECT 1", UNSURE), chat("sum", "2", "select select select select")])
    assert (stays.expert, stays.why, stays.instead_of) == ("sql", "conversation", "general")
    assert "a follow-up stays with sql: it needs the turn before with" in stays.because
    assert (moves.expert, moves.why) == ("sql", "category")


def test_the_same_words_without_a_conversation_are_routed_by_themselves() -> None:
    router, _ = make()
    assert router.route([ask(UNSURE)])[0].expert == "general"


def test_a_restarted_router_replays_what_another_one_decided() -> None:
    """No state is needed: every turn is answered by a router that has seen nothing before."""
    turns = ["select", "1", UNSURE, "2", "select sum", "3", UNSURE, "4", "sum sum sum sum sum sum sum", "5", UNSURE]
    experts = []
    one, _ = make()
    for end in range(1, len(turns) + 1, 2):
        (remembering,) = one.route([chat(*turns[:end])])
        (replaying,) = make()[0].route([chat(*turns[:end])])
        assert (replaying.expert, replaying.why, replaying.because) == (
            remembering.expert,
            remembering.why,
            remembering.because,
        )
        experts.append(replaying.expert)
    assert experts == ["sql", "sql", "sql", "sql", "general", "general"]


def test_a_mention_earlier_in_the_conversation_still_names_its_expert() -> None:
    router, _ = make()
    (decision,) = router.route([chat("@db list all", "SELECT 1", UNSURE)])
    assert (decision.expert, decision.why) == ("sql", "conversation")


def test_the_memory_saves_the_encoding_of_earlier_turns() -> None:
    router, encoder = make()
    router.route([chat("select")])
    router.route([chat("select", "SELECT 1", UNSURE)])
    assert encoder.calls == [["select"], [UNSURE]]


def test_a_named_conversation_is_known_without_its_messages() -> None:
    router, _ = make()
    router.route([ask("select", expert="general"), chat("x", expert="sql", conversation="c1")])
    (named,) = router.route([chat(UNSURE, conversation="c1")])
    (other,) = router.route([chat(UNSURE, conversation="c2")])
    assert (named.expert, named.why) == ("sql", "conversation")
    assert other.why != "conversation"


def test_an_expert_named_by_one_client_does_not_stick_to_another_with_the_same_words() -> None:
    router, _ = make()
    router.route([chat(UNSURE, expert="sql")])
    (decision,) = router.route([chat(UNSURE, "welcome", UNSURE)])
    assert decision.expert == "general"


def test_a_query_that_only_explains_leaves_no_trace() -> None:
    router, _ = make()
    router.route([chat("x", expert="sql", conversation="c1", only_explains=True)])
    assert router.route([chat(UNSURE, conversation="c1")])[0].expert == "general"


def test_what_was_resident_then_is_remembered() -> None:
    """The replay cannot know it, so the memory has to: the expert that answered has been evicted since."""
    router, _ = with_policy(priced_policy())
    (first,) = router.route([chat("select", snapshot=Snapshot({"sql": 5, "general": 0}))])
    (second,) = router.route([chat("select", "1", UNSURE, snapshot=Snapshot({"sql": 0, "general": 5}))])
    assert (first.expert, first.why, first.instead_of) == ("general", "cost", "sql")
    assert (second.expert, second.why) == ("general", "abstain")
    (third,) = router.route(
        [chat("select", "1", UNSURE, "2", "select select select select", snapshot=Snapshot({"sql": 0, "general": 5}))]
    )
    assert (third.expert, third.why) == ("general", "conversation")
    (replayed,) = with_policy(priced_policy())[0].route([chat("select", "1", UNSURE, snapshot=Snapshot({"sql": 0}))])
    assert (replayed.expert, replayed.why) == ("sql", "conversation")


def test_a_turn_whose_tools_have_answered_stays_with_the_expert_that_called_them() -> None:
    """By its words alone it would move: the mapped expert is at hand now, and was not when the tools were called."""
    router, _ = with_policy(priced_policy())
    asked = chat("select", snapshot=Snapshot({"sql": 5, "general": 0}))
    results = (Message("assistant", ""), Message("tool", ""), Message("tool", ""))
    answered = replace(asked, messages=asked.messages + results, snapshot=Snapshot({"sql": 0, "general": 5}))
    twice = replace(answered, messages=answered.messages + results[:2])
    (first,) = router.route([asked])
    assert (first.expert, first.why) == ("general", "cost")
    for query in (answered, twice):
        (decision,) = router.route([query])
        assert (decision.expert, decision.why, decision.text) == ("general", "conversation", "select")
        assert decision.because == "general has called the tools whose results it gets"
    (moved,) = router.route([replace(asked, snapshot=answered.snapshot)])
    assert moved.expert == "sql"


def test_stickiness_zero_routes_every_turn_by_itself_and_encodes_nothing_else() -> None:
    router, encoder = with_policy(RoutingPolicy(DIRECTORY, {"sql": "sql"}, stickiness=0.0))
    (decision,) = router.route([chat("select", "1", UNSURE)])
    assert (decision.expert, decision.why) == ("general", "abstain")
    assert encoder.calls == [[UNSURE]]


def test_a_conversation_costs_one_encoder_call_of_at_most_ten_texts() -> None:
    router, encoder = make()
    router.route([chat(*(f"turn {number}" for number in range(101)))])
    assert sorted(encoder.calls[0]) == sorted(f"turn {number}" for number in range(82, 101, 2))
    assert len(encoder.calls) == 1


# -- the rest of the explanation


def test_a_decision_shows_the_nearest_training_prompts_and_texts_only_when_asked() -> None:
    from router.model.artefact import Exemplar

    exemplars = (Exemplar("own-math-0001", "coe own", "math", "What is 2 + 2?"), Exemplar("b", "s", "sql"))
    router, _ = make(exemplars=exemplars, data={"coe own": {"license": "Apache-2.0"}})
    plain, asked = router.route([ask("sum"), RouteQuery((Message("user", "sum"),), only_explains=True)])
    assert [near.id for near in plain.nearest] == ["own-math-0001", "b"]
    assert [near.license for near in plain.nearest] == ["Apache-2.0", "licence unknown"]
    assert plain.nearest[0].cosine == pytest.approx(1, abs=1e-5)
    assert [near.text for near in plain.nearest] == [None, None]
    assert [near.text for near in asked.nearest] == ["What is 2 + 2?", None]


def test_a_conversation_is_routed_anew_while_its_expert_is_broken_and_goes_back_to_it() -> None:
    router, _ = make()
    broken = Snapshot(broken={"sql"})
    routed, follow_up = router.route([chat("select", snapshot=broken), chat("select", "1", UNSURE, snapshot=broken)])
    assert (routed.expert, routed.alternatives) == ("sql", ("general",))
    assert (follow_up.expert, follow_up.why) == ("general", "abstain")
    (back,) = router.route([chat("select", "1", UNSURE)])
    assert (back.expert, back.why) == ("sql", "conversation")


def priced_policy() -> RoutingPolicy:
    scores = {"sql": {"sql": 0.8, "general": 0.79}, "math": {"sql": 0.1, "general": 0.5}}
    return RoutingPolicy(DIRECTORY, {"sql": "sql"}, price=SwitchPrice(0.02, MappingFile(expected_scores=scores)))


# -- without a classifier


@pytest.mark.parametrize(
    ("query", "expert", "why", "text"),
    [
        (ask("@db list all", expert="general"), "general", "model", "@db list all"),
        (ask("x", expert="DB"), "sql", "model", "x"),
        (ask("@db list all"), "sql", "mention", "list all"),
        (ask("@dave hello"), "general", "general", "@dave hello"),
        (RouteQuery((Message("system", "@db"),)), "general", "general", ""),
    ],
)
def test_the_general_expert_answers_what_names_no_other(query: RouteQuery, expert: str, why: str, text: str) -> None:
    (decision,) = GeneralOnly(general="general", names=NAMES).route([query])
    assert (decision.expert, decision.category, decision.why, decision.text) == (expert, None, why, text)


def test_a_request_for_an_unknown_expert_is_refused_by_name() -> None:
    for router in (make()[0], GeneralOnly(general="general", names=NAMES)):
        with pytest.raises(UnknownExpertError, match="there is no expert 'oracle'; the experts are: general, sql"):
            router.route([ask("x", expert="oracle")])


def test_a_wrapper_is_taken_off_to_be_classified_and_stays_for_the_expert() -> None:
    (router, _), text = make(), "<task>select red</task>\n<env>sum sum sum sum sum</env>"
    wrapped, plain = router.route([ask(text), ask("select red")])
    assert wrapped.probabilities == plain.probabilities
    assert wrapped.text == text
    assert plain.vectors
    assert not wrapped.vectors
