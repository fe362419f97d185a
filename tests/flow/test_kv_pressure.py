"""KV kept across turns and given up under pressure: the same tokens as without, and nobody fails."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from compositions import ask, integrity, with_runtime, write_config

from coe.models import kv as kv_module
from coe.runtime import Runtime
from coe.types import Delta, Finished, GenerateRequest, Message, Sampling

SHAPES = ("llama", "qwen2", "qwen3", "mistral")
TURNS = ("What is the capital of France?", "And of Italy? Tell me about its seven hills.", "one two three " * 8)


@dataclass
class Talk:
    """A conversation with one expert: every answer becomes part of the next prompt."""

    expert: str
    messages: list[Message] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)

    async def say(self, runtime: Runtime, text: str) -> None:
        self.messages.append(Message("user", text))
        request = GenerateRequest(
            f"{self.expert}-{len(self.messages)}-{id(self)}",
            messages=tuple(self.messages),
            expert=self.expert,
            sampling=Sampling(max_tokens=24, temperature=0.0),
        )
        said, tokens = "", []
        async for event in runtime.generate(request):
            if isinstance(event, Delta):
                said, tokens = said + event.text, tokens + list(event.token_ids)
            elif isinstance(event, Finished):
                self.cached.append(event.usage.cached_tokens)
                assert event.usage.cached_tokens < event.usage.prompt_tokens
        self.messages.append(Message("assistant", said))
        self.answers.append(tokens)


@pytest.fixture
def folders(request: pytest.FixtureRequest) -> dict[str, Path]:
    return {shape: request.getfixturevalue(f"{shape}_folder") for shape in (*SHAPES, "gpt2")}


async def conversations(runtime: Runtime) -> list[Talk]:
    talks = [Talk(shape) for shape in (*SHAPES, "gpt2")]
    for turn in TURNS:
        await asyncio.gather(*(talk.say(runtime, turn) for talk in talks))
        await integrity(runtime)
    return talks


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_conversations_are_the_same_with_and_without_reuse(
    tmp_path: Path, folders: dict[str, Path], device: str
) -> None:
    found = {}
    for reuse in ("true", "false"):
        (tmp_path / reuse).mkdir()
        config = write_config(tmp_path / reuse, folders, f"max_step_tokens = 40\nprefix_reuse = {reuse}")
        config.write_text(config.read_text().replace('device = "cpu"', f'device = "{device}"'))
        found[reuse] = with_runtime(config, conversations)
    for ours, plain in zip(found["true"], found["false"], strict=True):
        assert ours.answers == plain.answers, ours.expert
        assert plain.cached == [0, 0, 0]
        if ours.expert in SHAPES:
            assert ours.cached[0] == 0
            assert ours.cached[1] > 16
            assert ours.cached[2] > ours.cached[1]
        else:
            assert ours.cached == [0, 0, 0]  # transformers' own modules keep nothing


@pytest.mark.parametrize(("device", "moves"), [("cpu", False), ("cpu", True), ("emulated", False)])
def test_answers_that_force_each_other_out_as_they_grow_are_the_same(
    tmp_path: Path,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    device: str,
    moves: bool,
) -> None:
    """KV for one or two of ten answers at their full length, so that growing is what they compete for."""
    caplog.set_level(logging.INFO, "coe.engine")
    monkeypatch.setattr(kv_module, "_is_address_space_free", lambda: not moves)
    config = write_config(tmp_path, folders, "max_step_tokens = 64\nprefix_reuse = false")
    text = config.read_text().replace('device = "cpu"', f'device = "{device}"')
    pairs = [(shape, turn) for turn in TURNS[:2] for shape in folders]

    async def alone(runtime: Runtime) -> list[list[int]]:
        return [await ask(runtime, *pair, 150, ignore_eos=True) for pair in pairs]

    async def together(runtime: Runtime) -> list[list[int]]:
        asked = [asyncio.create_task(ask(runtime, *pair, 150, ignore_eos=True)) for pair in pairs]
        while not all(task.done() for task in asked):
            await integrity(runtime)
        return [task.result() for task in asked]

    config.write_text(text)
    expected = with_runtime(config, alone)
    assert "preempt request=" not in caplog.text
    config.write_text(text.replace("[engine]", "[scheduler]\nmax_wait_s = 0.05\n[engine]\nkv_bytes = '500kB'"))
    assert with_runtime(config, together) == expected
    assert caplog.text.count("preempt request=") > 0


def test_answers_that_are_preempted_again_and_again_are_the_same(tmp_path: Path, folders: dict[str, Path]) -> None:
    """What the scheduler does under pressure, done to every answer under way, as often as the engine thread listens."""
    config = write_config(tmp_path, folders, "max_step_tokens = 24\nprefix_reuse = false")

    async def work(runtime: Runtime) -> tuple[list[list[int]], list[list[int]], int]:
        engine, num_preempted = runtime.engine, 0

        def preempt_all() -> int:
            """Every job that has begun and said something since; on the engine thread, between steps."""
            scheduler = engine._scheduler
            ready = [
                job
                for job in scheduler.queues.jobs.values()
                if job.num_generated > 2 and not scheduler.queues.is_in_step(job)
            ]
            for job in ready:
                engine._do(scheduler.preempt(job))
            engine.check_integrity()
            return len(ready)

        pairs = [(shape, turn) for turn in TURNS for shape in folders]
        alone = [await ask(runtime, *pair, 48) for pair in pairs]
        asked = [asyncio.create_task(ask(runtime, *pair, 48)) for pair in pairs]
        while not all(task.done() for task in asked):
            num_preempted += await asyncio.wrap_future(engine.call(preempt_all))
        return alone, [task.result() for task in asked], num_preempted

    alone, preempted, num_preempted = with_runtime(config, work)
    assert alone == preempted
    assert num_preempted > len(TURNS)
