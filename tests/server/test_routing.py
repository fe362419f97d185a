"""/v1/route, and a mention in a prompt."""

from __future__ import annotations

from server_live import Live, post

from coe.types import Decision, Routed, Tier
from server.decisions import coe_object

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


def test_mention_chooses_the_expert_and_is_stripped(live: Live) -> None:
    plain = post(live, "/v1/chat/completions", {"model": "other", "max_tokens": 2, "messages": PROMPT}).json()
    turn = {"role": "user", "content": f"@other {PROMPT[0]['content']}"}
    mentioned = post(live, "/v1/chat/completions", {"max_tokens": 2, "messages": [turn]}).json()
    assert mentioned["coe"]["expert"] == "other"
    assert mentioned["coe"]["why"] == "mention"
    assert mentioned["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]


def test_route_explains_without_generating(live: Live) -> None:
    decision = post(live, "/v1/route", {"prompt": "hello"}).json()
    assert decision["expert"] == "general"
    assert post(live, "/v1/route", {}).status_code == 400


def test_a_chat_request_can_be_routed_as_it_is(live: Live) -> None:
    asked = {"messages": PROMPT, "user": "me", "metadata": {}, "response_format": {"type": "text"}, "temperature": 0.5}
    assert post(live, "/v1/route", asked).json()["expert"] == "general"
    refused = post(live, "/v1/route", asked | {"temprature": 0.5})
    assert (refused.status_code, "temperature" in refused.text) == (400, True)


def test_what_was_changed_for_a_template_is_in_the_coe_object() -> None:
    routed = Routed(Decision("sql", None, None, "model", ""), Tier.HOST, 5, ("turns joined",))
    assert coe_object(routed)["changed"] == ["turns joined"]
