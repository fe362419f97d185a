"""Prompts that are slow to read, and templates that never end, beside others: each costs itself an answer, no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import chat_templates
import pytest
from compositions import ask, with_runtime, write_config
from tiny_models import tiny_llama

from coe.errors import ContextLengthError, ExpertError
from coe.runtime import Runtime
from coe.types import Delta, GenerateRequest, Message, Routed, Sampling

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
NO_SYSTEM = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "<|im_start|>{{ message.role }} {{ message.content }}<|im_end|>{% endfor %}"
)


def composition(folder: Path, llama_folder: Path, **templates: str) -> Path:
    tables = []
    for name, template in templates.items():
        (folder / f"{name}.jinja").write_text(template)
        tables.append(f'[experts.{name}]\nsource = "{llama_folder}"\nchat_template = "{folder / name}.jinja"')
    return write_config(folder, {"general": llama_folder}, "\n".join(tables))


def test_an_endless_template_costs_its_own_expert_an_error_and_others_answer(
    tmp_path: Path, llama_folder: Path
) -> None:
    async def work(runtime: Runtime) -> None:
        endless = asyncio.create_task(ask(runtime, "endless", "Hello", 4))
        for _ in range(3):
            assert await ask(runtime, "general", "Hello", 4)
        assert not endless.done()  # three answers within the two seconds of processor time that it may take
        with pytest.raises(ExpertError, match=r"'endless'.*processor time.*chat_template"):
            await endless

    with_runtime(composition(tmp_path, llama_folder, endless=ENDLESS), work)


@pytest.mark.parametrize("expert", [None, "general"])
@pytest.mark.parametrize(
    "messages",
    [(Message("user", "a" * 1_000_000),), (Message("user", "a"),) * 200_000],
    ids=["characters", "messages"],
)
def test_what_no_expert_can_hold_is_refused_before_it_is_routed(
    tmp_path: Path, llama_folder: Path, expert: str | None, messages: tuple[Message, ...]
) -> None:
    async def work(runtime: Runtime) -> None:
        async def never(_: object) -> None:
            raise AssertionError("it was routed")

        runtime.route = never  # type: ignore[assignment, method-assign]
        with pytest.raises(ContextLengthError, match="512"):
            await anext(runtime.generate(GenerateRequest("long", messages, expert=expert)))

    with_runtime(write_config(tmp_path, {"general": llama_folder}), work)


def test_a_completion_by_sentencepiece_keeps_its_first_blank(tmp_path: Path) -> None:
    """Clients put the answer behind their prompt: "is" + "the" for "is the"."""
    folder = tiny_llama(tmp_path / "model", vocab_size=700)
    chat_templates.sentencepiece().save_pretrained(folder)

    async def work(runtime: Runtime) -> None:
        bias = {runtime.experts.served["general"].text.tokenizer.token_to_id("▁the"): 100.0}
        sampling = Sampling(max_tokens=3, temperature=0.0, logit_bias=bias)
        for prompt in ("The capital of France is", "Straße 😀"):
            request = GenerateRequest(prompt, prompt=prompt, sampling=sampling)
            deltas = [event async for event in runtime.generate(request) if isinstance(event, Delta)]
            assert "".join(delta.text for delta in deltas) == " the the the"
        chat = GenerateRequest("chat", (Message("user", "Hi"),), sampling=sampling)
        deltas = [event async for event in runtime.generate(chat) if isinstance(event, Delta)]
        assert "".join(delta.text for delta in deltas) == "the the the"  # a text of its own, as transformers has it

    with_runtime(write_config(tmp_path, {"general": folder}), work)


def test_a_changed_conversation_says_so_in_its_first_event(tmp_path: Path, llama_folder: Path) -> None:
    async def work(runtime: Runtime) -> None:
        messages = (Message("system", "Be brief."), Message("user", "Hello"))
        for expert, changed in (("strict", ("system turn folded into the user turn after it",)), ("general", ())):
            events = runtime.generate(GenerateRequest("r", messages, expert=expert))
            first = await anext(events)
            await events.aclose()
            assert isinstance(first, Routed)
            assert first.changed == changed

    with_runtime(composition(tmp_path, llama_folder, strict=NO_SYSTEM), work)
