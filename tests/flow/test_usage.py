"""usage.prompt_tokens_details.cached_tokens: what a conversation's next turn did not have to compute."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from server_live import Live

from coe.client import Client


def turns(live: Live, question: str) -> list[Any]:
    """Two turns of one conversation, greedily."""
    answers: list[Any] = []
    messages: list[Any] = [{"role": "user", "content": question}]
    with OpenAI(base_url=f"{live.url}/v1", api_key="-", max_retries=0) as client:
        for follow_up in ("And then?", None):
            answers.append(
                client.chat.completions.create(model="general", messages=messages, max_tokens=12, temperature=0)
            )
            messages.append({"role": "assistant", "content": answers[-1].choices[0].message.content})
            messages.append({"role": "user", "content": follow_up or ""})
    return answers


def test_the_next_turn_reports_the_tokens_it_did_not_compute(live: Live) -> None:
    first, second = turns(live, "A question that nobody has asked this server before: how many gulls, and why?")
    assert first.usage.prompt_tokens_details.cached_tokens < first.usage.prompt_tokens
    assert first.usage.prompt_tokens <= second.usage.prompt_tokens_details.cached_tokens < second.usage.prompt_tokens
    assert second.usage.total_tokens == second.usage.prompt_tokens + second.usage.completion_tokens


def test_our_client_reads_it(live: Live) -> None:
    with Client(live.url) as client:
        message = [{"role": "user", "content": "Another question, long enough to be kept: which gulls, and where?"}]
        usages = [client.chat(message, model="general", max_tokens=4, temperature=0).usage for _ in range(2)]
    assert usages[0] is not None
    assert usages[1] is not None
    assert usages[1].cached_tokens == usages[1].prompt_tokens - 1  # the last token gives the logits


def test_a_prompt_counts_once_and_what_its_choices_share_is_not_cached(live: Live) -> None:
    """The first choice computed what the others copied, so nobody is told that it was there already."""
    with OpenAI(base_url=f"{live.url}/v1", api_key="-", max_retries=0) as client:

        def ask(n: int) -> Any:
            message: Any = {"role": "user", "content": "Which of the gulls of this harbour has nobody counted yet?"}
            return client.chat.completions.create(
                model="general", messages=[message], n=n, max_tokens=6, temperature=1, seed=3
            ).usage

        first, again, alone = ask(3), ask(3), ask(1)
    assert first.prompt_tokens == again.prompt_tokens == alone.prompt_tokens
    assert first.prompt_tokens_details.cached_tokens < first.prompt_tokens - 1
    assert again.prompt_tokens_details.cached_tokens == again.prompt_tokens - 1
    assert first.completion_tokens > alone.completion_tokens
    assert first.total_tokens == first.prompt_tokens + first.completion_tokens
