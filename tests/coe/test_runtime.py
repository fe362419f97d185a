"""The runtime: a request's events, who is refused and why, and that everything accepted ends, also while closing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
from compositions import ask, integrity, with_runtime, write_config

from coe.assembly.import_experts import imported_experts
from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.engine.step_runner import StepRunner
from coe.errors import (
    BreakerOpenError,
    CancelledError,
    CoeError,
    ContextLengthError,
    ExpertError,
    InvalidRequestError,
    ShutdownError,
    UnknownExpertError,
    WeightsError,
)
from coe.runtime import Runtime
from coe.types import (
    Decision,
    Delta,
    Finished,
    FinishReason,
    GenerateEvent,
    GenerateRequest,
    Message,
    Routed,
    RouteQuery,
    Router,
    Sampling,
    Tier,
)
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Unit


class Door:
    """A router that lets queries through once it is open; `@llama` in front of a prompt is a mention."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.queries: list[RouteQuery] = []

    def route(self, queries: Sequence[RouteQuery]) -> list[Decision]:
        self.batches.append(len(queries))
        self.queries += queries
        self.entered.set()
        self.open.wait(60)
        return [self.decide(query.expert or "llama", query.messages[-1].content) for query in queries]

    @staticmethod
    def decide(expert: str, text: str) -> Decision:
        why = "mention" if text.startswith("@llama ") else "general"
        return Decision(expert, None, None, why, text.removeprefix("@llama "))


@pytest.fixture
def config(tmp_path: Path, llama_folder: Path, qwen3_folder: Path) -> Path:
    return write_config(tmp_path, {"llama": llama_folder, "other": qwen3_folder})


@asynccontextmanager
async def running(config: Path, door: Router) -> AsyncGenerator[Runtime]:
    runtime = build_runtime(load_config(config), door)
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.close()


def request(name: str, prompt: str = "hello", expert: str | None = "llama", **sampling: object) -> GenerateRequest:
    settings = Sampling(**{"temperature": 0.0, "max_tokens": 8, **sampling})  # type: ignore[arg-type]
    return GenerateRequest(name, messages=(Message("user", prompt),), expert=expert, sampling=settings)


async def events_of(runtime: Runtime, asked: GenerateRequest) -> list[GenerateEvent]:
    return [event async for event in runtime.generate(asked)]


# -- a request's way


def test_events_are_routed_then_deltas_then_finished(config: Path) -> None:
    async def work(runtime: Runtime) -> None:
        first, *deltas, last = await events_of(runtime, request("1"))
        assert isinstance(first, Routed)
        assert first.decision.expert == "llama"
        assert first.tier is Tier.DISK
        assert isinstance(last, Finished)
        ids = [token for delta in deltas if isinstance(delta, Delta) for token in delta.token_ids]
        text = "".join(delta.text for delta in deltas if isinstance(delta, Delta))
        tokenizer = runtime.experts.served["llama"].text.tokenizer
        assert text == tokenizer.decode(ids, skip_special_tokens=True)
        assert last.usage.completion_tokens == len(ids)
        assert last.usage.prompt_tokens == first.prompt_tokens
        assert last.reason is (FinishReason.LENGTH if len(ids) == 8 else FinishReason.STOP)
        size = runtime.experts.served["llama"].loaded.manifest.size_bytes
        assert last.switch.loaded_bytes <= size  # less where the hint's prefetch was there before the request
        assert sum(runtime.metrics.snapshot().loaded_bytes.values()) == size
        again, *_, end = await events_of(runtime, request("2"))
        assert isinstance(again, Routed)
        assert again.tier is Tier.DEVICE
        assert isinstance(end, Finished)
        assert end.switch.loaded_bytes == 0
        assert sum(runtime.metrics.snapshot().loaded_bytes.values()) == size

    with_runtime(config, work)


def test_the_decision_comes_with_the_first_token_or_when_the_client_has_to_hear_something(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to then another expert may answer, so nothing of it is said."""
    opened, reads = threading.Event(), UnitStore.reads

    def held(store: UnitStore, unit: Unit, target: memoryview) -> list[Callable[[], None]]:
        return [lambda read=read: (opened.wait(60), read()) for read in reads(store, unit, target)]  # type: ignore[misc]

    monkeypatch.setattr(UnitStore, "reads", held)

    async def work(runtime: Runtime) -> None:
        waiting = runtime.generate(request("waiting"))
        told = runtime.generate(request("told"), commit_s=0.01)
        first = asyncio.ensure_future(anext(waiting))
        assert isinstance(await anext(told), Routed)
        assert not first.done()
        opened.set()
        assert isinstance(await first, Routed)
        for stream in (waiting, told):
            assert isinstance([event async for event in stream][-1], Finished)

    with_runtime(config, work)


def test_a_fault_in_an_experts_text_counts_as_its_own(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(runtime: Runtime) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("coe.runtime.encode", raise_template_error)
            for number in range(3):
                with pytest.raises(ExpertError, match="template"):
                    await events_of(runtime, request(f"{number}"))
        with pytest.raises(BreakerOpenError, match=r"'llama'.*3 times in a row.*template"):
            await events_of(runtime, request("3"))
        await runtime.operator.load("llama")
        assert await events_of(runtime, request("4"))

    with_runtime(config, work)


def test_a_request_that_passes_nobody_over_fails_where_another_would_stand_in(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score, a measurement: an answer of another expert would be wrong."""
    text = config.read_text()
    source = next(line for line in text.splitlines() if line.startswith("other")).split('"')[1]
    third = f'[experts.third]\nfallbacks = "llama"\nsource = "{source}"\n'
    config.write_text(text.replace("[router]", f"{third}[router]"))
    monkeypatch.setattr(StepRunner, "begin", partialmethod(failing_begin, StepRunner.begin))

    async def work(runtime: Runtime) -> None:
        asked = request("1", expert="third")
        first, *_ = await events_of(runtime, asked)
        assert isinstance(first, Routed)
        assert first.decision.expert == "llama"
        with pytest.raises(ExpertError, match="'third'"):
            await events_of(runtime, replace(asked, id="2", passes_over=False))

    with_runtime(config, work)


def failing_begin(runner: StepRunner, real: Callable[..., None], expert: str, *rest: object) -> None:
    if expert == "third":
        raise RuntimeError("a kernel failed")
    real(runner, expert, *rest)


def raise_template_error(*_: object) -> None:
    raise ExpertError("llama", "its template takes too long")


def test_a_stop_string_ends_the_text_before_it(config: Path) -> None:
    async def work(runtime: Runtime) -> None:
        events = await events_of(runtime, request("1", max_tokens=24))
        text = "".join(event.text for event in events if isinstance(event, Delta))
        stop = text[3:6]
        *deltas, last = await events_of(runtime, request("2", max_tokens=24, stop=(stop,)))
        assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == text[: text.index(stop)]
        assert isinstance(last, Finished)
        assert last.reason is FinishReason.STOP

    with_runtime(config, work)


def test_prompts_beyond_the_context_are_refused_and_long_answers_end_with_it(config: Path) -> None:
    async def work(runtime: Runtime) -> None:
        with pytest.raises(ContextLengthError, match="512"):
            await events_of(runtime, request("1", "one two three " * 200))
        first, *_, last = await events_of(runtime, request("2", "one two three " * 30, max_tokens=4000))
        assert isinstance(first, Routed)
        assert isinstance(last, Finished)
        assert last.usage.completion_tokens + first.prompt_tokens <= 512

    with_runtime(config, work)


def test_a_mention_is_taken_out_of_the_prompt(config: Path) -> None:
    async def run() -> None:
        door = Door()
        door.open.set()
        async with running(config, door) as runtime:
            plain = await events_of(runtime, request("1", "hello"))
            named = await events_of(runtime, request("2", "@llama hello"))
            assert [event for event in named if isinstance(event, Delta)] == [
                event for event in plain if isinstance(event, Delta)
            ]

    asyncio.run(run())


def test_prompts_that_come_while_the_router_is_busy_are_routed_together(config: Path) -> None:
    async def run() -> None:
        door = Door()
        async with running(config, door) as runtime:
            tasks = [asyncio.create_task(events_of(runtime, request("first")))]
            await asyncio.to_thread(door.entered.wait)
            tasks += [asyncio.create_task(events_of(runtime, request(f"{number}"))) for number in range(5)]
            await asyncio.sleep(0)
            door.open.set()
            await asyncio.gather(*tasks)
        assert door.batches == [1, 5]

    asyncio.run(run())


@pytest.mark.parametrize("weighs_loads", [False, True])
def test_the_router_sees_how_long_loads_would_take_and_what_is_broken(
    tmp_path: Path, llama_folder: Path, qwen3_folder: Path, weighs_loads: bool
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (tmp_path / "mapping.json").write_text("{}")
    file = write_config(tmp_path, {"llama": llama_folder, "broken": broken, "other": qwen3_folder})
    keys = 'mapping = "mapping.json"\nscore_per_second = 0.1\n' if weighs_loads else ""
    file.write_text(file.read_text().replace("[router]\n", f"[router]\n{keys}"))

    async def run() -> None:
        door = Door()
        door.open.set()
        async with running(file, door) as runtime:
            await runtime.operator.load("llama")
            await runtime.route(RouteQuery((Message("user", "x"),), conversation="c"))
        (query,) = door.queries
        assert query.conversation == "c"
        load_s = query.snapshot.load_s
        assert load_s.keys() == ({"llama", "other"} if weighs_loads else set())
        if weighs_loads:
            assert load_s["llama"] == 0
            assert load_s["other"] > 0
        assert query.snapshot.broken == {"broken"}

    asyncio.run(run())


def test_an_expert_whose_breaker_is_open_is_broken_to_the_router_until_it_has_loaded_again(config: Path) -> None:
    store, imported, _ = imported_experts(load_config(config))
    path = store.path(next(each.manifest.units[1] for each in imported if each.spec.name == "other"))
    content = path.read_bytes()

    async def run() -> None:
        door = Door()
        door.open.set()
        async with running(config, door) as runtime:
            os.truncate(path, 4096)
            for number in range(3):
                with pytest.raises(WeightsError, match=r"'other'.*cannot be loaded"):
                    await events_of(runtime, request(f"{number}", expert="other"))
            with pytest.raises(BreakerOpenError, match=r"'other': it failed 3 times in a row.*'layer.0'"):
                await events_of(runtime, request("3", expert="other"))
            await events_of(runtime, request("4"))
            path.write_bytes(content)
            await runtime.operator.load("other")
            await events_of(runtime, request("5", expert="other"))
        assert [set(query.snapshot.broken) for query in door.queries] == [set()] * 3 + [{"other"}] * 2 + [set()]

    asyncio.run(run())


def test_request_without_settings_takes_the_experts_own(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"llama": llama_folder})
    own = f'[experts.llama]\nsource = "{llama_folder}"\n[experts.llama.generation]\nmax_tokens = 3\ntemperature = 0\n'
    config.write_text(config.read_text().replace(f'[experts]\nllama = "{llama_folder}"', own))

    async def work(runtime: Runtime) -> None:
        asked = GenerateRequest("1", messages=(Message("user", "hello"),))
        *_, last = await events_of(runtime, asked)
        assert isinstance(last, Finished)
        assert last.usage.completion_tokens <= 3
        assert await ask(runtime, "llama", "hello", 3) == [
            token
            for event in await events_of(runtime, GenerateRequest("2", messages=(Message("user", "hello"),)))
            if isinstance(event, Delta)
            for token in event.token_ids
        ]

    with_runtime(config, work)


# -- who is refused


def test_unknown_experts_are_refused_with_the_names_there_are(config: Path) -> None:
    async def work(runtime: Runtime) -> None:
        with pytest.raises(UnknownExpertError, match=r"'nobody'.*llama, other"):
            await events_of(runtime, request("1", expert="nobody"))
        for wish in (runtime.operator.load, runtime.operator.unload, runtime.operator.pin, runtime.operator.unpin):
            with pytest.raises(UnknownExpertError):
                await wish("nobody")

    with_runtime(config, work)


def test_a_request_without_messages_and_a_request_id_in_use_are_refused(config: Path) -> None:
    async def work(runtime: Runtime) -> None:
        with pytest.raises(InvalidRequestError, match="messages is empty"):
            await events_of(runtime, GenerateRequest("1"))
        stream = runtime.generate(request("same", max_tokens=200))
        assert isinstance(await anext(stream), Routed)
        assert isinstance(await anext(stream), Delta)
        with pytest.raises(InvalidRequestError, match="'same' is in use"):
            await events_of(runtime, request("same"))
        assert isinstance([event async for event in stream][-1], Finished)  # the refused one ended nobody else's

    with_runtime(config, work)


def test_an_expert_that_could_not_be_had_is_shown_and_refused_the_same_way_each_time(
    tmp_path: Path, llama_folder: Path, qwen3_folder: Path
) -> None:
    """Its one error is raised for every request; it used to gather each request's traceback, and with it its memory."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    config = write_config(tmp_path, {"llama": llama_folder, "broken": broken, "other": qwen3_folder})

    async def work(runtime: Runtime) -> None:
        (status,) = [status for status in runtime.operator.experts() if status.error]
        assert status.name == "broken"
        depths = set()
        for number in range(3):
            with pytest.raises(CoeError, match="'broken'") as caught:
                await events_of(runtime, request(f"{number}", expert="broken"))
            depths.add(len(caught.traceback))
        assert len(depths) == 1
        assert await ask(runtime, "other", "hello", 2)

    with_runtime(config, work)


def test_an_expert_whose_bytes_are_gone_fails_alone_and_recovers(config: Path) -> None:
    store, imported, _ = imported_experts(load_config(config))
    path = store.path(next(each.manifest.units[1] for each in imported if each.spec.name == "other"))
    content = path.read_bytes()

    async def work(runtime: Runtime) -> None:
        os.truncate(path, 4096)
        healthy = asyncio.create_task(ask(runtime, "llama", "hello", 32))
        with pytest.raises(WeightsError, match="'other'"):
            await ask(runtime, "other", "hello")
        with pytest.raises(WeightsError, match="'other'"):
            await runtime.operator.load("other")
        assert await healthy
        errors = {status.name: status.error for status in runtime.operator.experts()}
        assert "layer.0" in str(errors["other"])
        assert errors["llama"] is None
        await integrity(runtime)
        path.write_bytes(content)
        assert await ask(runtime, "other", "hello", 4)
        assert all(status.error is None for status in runtime.operator.experts())

    with_runtime(config, work)


# -- ends


def test_closing_a_stream_frees_its_kv_at_once(config: Path) -> None:
    async def work(runtime: Runtime) -> None:
        stream = runtime.generate(request("1", max_tokens=400))
        assert isinstance(await anext(stream), Routed)
        assert isinstance(await anext(stream), Delta)
        await stream.aclose()
        scheduler = runtime.engine._scheduler
        left = await asyncio.wrap_future(
            runtime.engine.call(lambda: (len(scheduler.queues.jobs), scheduler.kv_used_bytes))
        )
        assert left == (0, 0)
        assert runtime.metrics.snapshot().requests == {("llama", "cancelled"): 1}

    with_runtime(config, work)


def test_a_caller_who_takes_no_events_holds_no_memory(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coe.attempt.MAX_UNREAD", 8)

    async def work(runtime: Runtime) -> None:
        asked = GenerateRequest(
            "idle",
            messages=(Message("user", "hello"),),
            sampling=Sampling(max_tokens=200, ignore_eos=True),
            num_choices=2,
        )
        events = runtime.generate(asked)
        assert isinstance(await anext(events), Routed)
        await anext(events)
        while any(expert.num_requests for expert in runtime.operator.experts()):
            await asyncio.sleep(0.01)
        taken: list[GenerateEvent] = []

        async def take_all() -> None:
            async for event in events:
                taken.append(event)

        with pytest.raises(CancelledError):
            await take_all()
        assert len(taken) == 16

    with_runtime(config, work)


def test_a_caller_who_stops_waiting_for_a_load_harms_nobody(config: Path) -> None:
    """A cancelled waiter cancelled the engine's future, and answering it killed the engine thread."""

    async def work(runtime: Runtime) -> None:
        for wish in (runtime.operator.load, runtime.operator.unload, runtime.operator.load):
            task = asyncio.create_task(wish("other"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await runtime.operator.load("other")
        assert await ask(runtime, "other", "hello", 2)

    with_runtime(config, work)


def test_close_lets_running_requests_end_and_takes_no_more(config: Path) -> None:
    async def run() -> None:
        door = Door()
        door.open.set()
        async with running(config, door) as runtime:
            stream = runtime.generate(request("1", max_tokens=40))
            await anext(stream)
            closing = asyncio.create_task(runtime.close(drain_s=100))
            await asyncio.sleep(0)
            with pytest.raises(ShutdownError):
                await events_of(runtime, request("2"))
            assert isinstance([event async for event in stream][-1], Finished)
            await closing

    asyncio.run(run())


def test_what_is_still_running_when_the_drain_is_over_ends_with_an_error(config: Path) -> None:
    async def run() -> None:
        door = Door()
        door.open.set()
        async with running(config, door) as runtime:
            stream = runtime.generate(request("1", max_tokens=400))
            await anext(stream)
            closing = asyncio.create_task(runtime.close())
            with pytest.raises(ShutdownError):
                _ = [event async for event in stream]
            await closing

    asyncio.run(run())


def test_a_request_that_is_being_routed_when_the_runtime_closes_ends_with_an_error(config: Path) -> None:
    """It waited for ever: its event went to an engine that had ended."""

    async def run() -> None:
        door = Door()
        async with running(config, door) as runtime:
            tasks = [asyncio.create_task(events_of(runtime, request("first")))]
            await asyncio.to_thread(door.entered.wait)
            tasks += [asyncio.create_task(events_of(runtime, request(f"{number}"))) for number in range(3)]
            await asyncio.sleep(0)
            await runtime.close()
            door.open.set()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(end) for end in ends] == [ShutdownError] * 4

    asyncio.run(run())


def test_an_operators_wish_after_the_end_is_refused(config: Path) -> None:
    async def run() -> None:
        async with running(config, Door()) as runtime:
            await runtime.close()
            for wish in (runtime.operator.load, runtime.operator.unload, runtime.operator.pin, runtime.operator.unpin):
                with pytest.raises(ShutdownError):
                    await wish("llama")

    asyncio.run(run())
