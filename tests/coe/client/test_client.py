"""The Python client against a live server."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from server_live import Live

from coe import AsyncClient, Client

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
