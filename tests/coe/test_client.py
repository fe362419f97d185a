"""The Python client against a live server."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from server_live import Live

from coe import AsyncClient, Client
from coe.errors import CoeError, ContextLengthError, InvalidRequestError, UnknownExpertError

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


def test_stream_gives_the_same_answer_in_pieces(live: Live) -> None:
    with Client(live.url) as client:
        whole = client.chat(PROMPT, model="other", **GREEDY)
        stream = client.stream(PROMPT, model="other", **GREEDY)
        with pytest.raises(CoeError, match="not ended"):
            _ = stream.answer
        pieces = list(stream)
    assert "".join(pieces) == whole.text == stream.answer.text
    assert len(pieces) > 1
    assert stream.answer.usage == whole.usage


def test_several_choices_and_their_logprobs_come_whole_and_streamed(live: Live) -> None:
    with Client(live.url) as client:
        whole = client.chat(PROMPT, model="other", n=2, seed=1, max_tokens=6, logprobs=True)
        stream = client.stream(PROMPT, model="other", n=2, seed=1, max_tokens=6, logprobs=True)
        pieces = list(stream)
        plain = client.chat(PROMPT, model="other", **GREEDY)
    assert len(whole.choices) == 2
    assert whole.choices == stream.answer.choices
    assert "".join(pieces) == whole.text == whole.choices[0].text
    assert "".join(token["token"] for token in whole.choices[1].logprobs or ()) == whole.choices[1].text
    assert plain.choices[0].logprobs is None


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


def test_a_decision_says_why_in_every_answer(live: Live) -> None:
    with Client(live.url) as client:
        answer = client.chat(f"@other {PROMPT}", max_tokens=2)
        stream = client.stream(f"@other {PROMPT}", max_tokens=2)
        assert list(stream)
        route = client.route(f"@other {PROMPT}")
    assert answer.decision == stream.answer.decision == route
    assert route.because == "the prompt begins with @other"
    assert (route.rule, route.instead_of, route.cost, route.nearest) == (None, None, None, ())


def test_operators_wishes_show_in_the_status(live: Live) -> None:
    with Client(live.url) as client:
        assert client.unload("other").device_bytes == 0
        assert client.load("other").tier == "device"
        assert client.pin("other").is_pinned
        assert not client.unpin("other").is_pinned
        assert [status.name for status in client.experts()] == ["general", "other"]


def test_errors_come_back_as_their_own_classes(live: Live) -> None:
    with Client(live.url) as client:
        with pytest.raises(UnknownExpertError, match="nobody"):
            client.chat(PROMPT, model="nobody")
        with pytest.raises(ContextLengthError, match="context"):
            client.chat("word " * 2000)
        with pytest.raises(InvalidRequestError, match="temperature"):
            client.chat(PROMPT, temperature=9)
        with pytest.raises(UnknownExpertError):
            list(client.stream(PROMPT, model="nobody"))


def test_no_server_is_a_clear_error() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(CoeError, match="coe serve"):
        client.experts()
