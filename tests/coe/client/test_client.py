"""The Python client against a live server."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from scripted_server import Reply, scripted_server
from server_live import Live

from coe import AsyncClient, Client, Completions

PROMPT = "What is the capital of France?"
GREEDY = {"temperature": 0, "max_tokens": 12}


def test_importing_coe_loads_no_torch_and_no_server() -> None:
    code = "import coe, sys; print([m for m in ('torch', 'transformers', 'fastapi', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_chat_names_the_expert_and_what_the_switch_cost(live: Live) -> None:
    with Client(live.url) as client:
        answer = client.chat(PROMPT, model="other", **GREEDY)
    assert answer.expert == "other"
    assert answer.why == "model"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.switch.first_token_s > 0
    assert answer.finish_reason == "length"


def test_async_client_answers_like_the_sync_one(live: Live) -> None:
    async def ask() -> tuple[str, str, str, int]:
        async with AsyncClient(live.url) as client:
            answer = await client.chat(PROMPT, model="other", **GREEDY)
            stream = client.stream(PROMPT, model="other", **GREEDY)
            pieces = [piece async for piece in stream]
            route = await client.route(PROMPT)
            return answer.text, "".join(pieces), route.expert, len(await client.experts())

    with Client(live.url) as client:
        text = client.chat(PROMPT, model="other", **GREEDY).text
    assert asyncio.run(ask()) == (text, text, "general", 2)


def test_messages_and_mentions_work(live: Live) -> None:
    with Client(live.url) as client:
        answer = client.chat([{"role": "user", "content": f"@other {PROMPT}"}], max_tokens=2)
        route = client.route(f"@other {PROMPT}")
    assert (answer.expert, answer.why, route.expert, route.why) == ("other", "mention", "other", "mention")


def test_a_decision_says_why_in_every_answer_that_is_to_explain(live: Live) -> None:
    with Client(live.url) as client:
        answer = client.chat(f"@other {PROMPT}", max_tokens=2, coe={"explain": True})
        stream = client.stream(f"@other {PROMPT}", max_tokens=2, coe={"explain": True})
        assert list(stream)
        route = client.route(f"@other {PROMPT}")
    assert answer.decision == stream.answer.decision == route
    assert route.because == "the prompt begins with @other"
    assert (route.rule, route.instead_of, route.cost, route.nearest) == (None, None, None, ())


def test_operators_commands_show_in_the_status(live: Live) -> None:
    with Client(live.url) as client:
        assert client.unload("other").device_bytes == 0
        assert client.load("other").tier == "device"
        assert client.pin("other").is_pinned
        assert not client.unpin("other").is_pinned
        assert [status.name for status in client.experts()] == ["general", "other"]


def test_a_completion_continues_a_text_as_it_is(live: Live) -> None:
    async def ask() -> str:
        async with AsyncClient(live.url) as client:
            return (await client.complete("The capital of", model="other", **GREEDY)).text

    with Client(live.url) as client:
        whole = client.complete("The capital of", model="other", echo=True, logprobs=1, **GREEDY)
        plain = client.complete("The capital of", model="other", **GREEDY)
    assert whole.text == f"The capital of{plain.text}"
    assert "".join(token["token"] for token in whole.choices[0].logprobs or ()) == whole.text
    assert (plain.expert, plain.why, plain.finish_reason) == ("other", "model", "length")
    assert asyncio.run(ask()) == plain.text


def test_each_prompt_of_a_list_has_its_own_answer(live: Live) -> None:
    """Prompts are routed one by one, so each answer has a decision."""
    prompts = ["The capital of", "One, two,", "@other is"]

    async def ask() -> Completions:
        async with AsyncClient(live.url) as client:
            return await client.complete_all(prompts, n=2, seed=1, max_tokens=4)

    with Client(live.url) as client:
        found = client.complete_all(prompts, n=2, seed=1, max_tokens=4)
        alone = [client.complete(prompt, n=2, seed=1, max_tokens=4) for prompt in prompts]
        (one,) = client.complete_all(prompts[:1], n=2, seed=1, max_tokens=4).answers
    assert [answer.choices for answer in found.answers] == [answer.choices for answer in alone]
    assert [answer.expert for answer in found.answers] == [answer.expert for answer in alone]
    assert one.choices == alone[0].choices
    used = [answer.usage for answer in alone if answer.usage is not None]
    assert found.usage.completion_tokens == sum(usage.completion_tokens for usage in used)
    assert found.usage.prompt_tokens == sum(usage.prompt_tokens for usage in used)
    assert [answer.choices for answer in asyncio.run(ask()).answers] == [answer.choices for answer in found.answers]


def test_models_are_what_a_request_may_name(live: Live) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(live.url) as client:
            return await client.models()

    with Client(f"{live.url}/v1") as client:
        assert client.models() == ["coe", "general", "other"] == asyncio.run(ask())


def test_headers_go_with_every_request_beside_the_key() -> None:
    models = Reply(200, '{"data": []}')
    with scripted_server([models]) as server, Client(server.url, api_key="s", headers={"x-team": "blue"}) as client:
        assert client.models() == []
    (asked,) = server.asked
    assert (asked.headers["authorization"], asked.headers["x-team"]) == ("Bearer s", "blue")
