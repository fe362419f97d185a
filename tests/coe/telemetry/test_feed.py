"""A watcher sees what is, then what changes; nothing is sampled for nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from compositions import ask, with_runtime, write_config

from coe.runtime import Runtime
from coe.telemetry import feed as feed_module
from coe.telemetry.events import Evicted, QueueChanged, ResidencyChanged, Second, StateChanged
from coe.telemetry.hub import Event
from coe.types import Tier


async def events_until(runtime: Runtime, kind: type, num: int = 1) -> list[Event]:
    """What a watcher is told until so many events of a kind have come, while an answer is given."""
    found: list[Event] = []
    with runtime.feed.watched() as listener:
        await ask(runtime, "general", "hello", 24)
        while sum(isinstance(event.what, kind) for event in found) < num:
            found += (await listener.take(30)).events
    return found


def test_residency_queue_and_rate_are_told_while_somebody_watches(tmp_path: Path, llama_folder: Path) -> None:
    async def work(runtime: Runtime) -> None:
        found = await events_until(runtime, Second)
        resident = [event.what for event in found if isinstance(event.what, ResidencyChanged)]
        size_bytes = runtime.operator.experts()[0].size_bytes
        assert resident[-1].expert == "general"
        assert resident[-1].device.ready_bytes == resident[-1].host.ready_bytes == size_bytes
        seconds = [event.what for event in found if isinstance(event.what, Second)]
        assert all(second.prompt_tokens or second.completion_tokens or second.requests for second in seconds)
        for event in found:
            if isinstance(event.what, QueueChanged):
                assert all(queued.queued + queued.running for queued in event.what.experts.values())

    with_runtime(write_config(tmp_path, {"general": llama_folder}), work)


def test_evictions_are_told_once_with_their_bytes(tmp_path: Path, llama_folder: Path) -> None:
    async def work(runtime: Runtime) -> None:
        await ask(runtime, "general", "hello", 4)
        size_bytes = runtime.operator.experts()[0].size_bytes
        with runtime.feed.watched(kinds=["eviction"]) as listener:
            await runtime.operator.unload("general")
            (event,) = (await listener.take(30)).events
            assert isinstance(event.what, Evicted)
            assert (event.what.tier, event.what.why, event.what.bytes) == (Tier.HOST, "unload", size_bytes)
            assert (await listener.take(3 * feed_module.SAMPLE_S)).events == ()

    with_runtime(write_config(tmp_path, {"general": llama_folder}), work)


def test_nothing_is_sampled_for_nobody(tmp_path: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "LINGER_S", 0.2)

    async def work(runtime: Runtime) -> None:
        await ask(runtime, "general", "hello", 4)
        assert runtime.feed._sampling is None
        with runtime.feed.watched():
            sampling = runtime.feed._sampling
            assert sampling is not None
        await asyncio.wait_for(sampling, 30)

    with_runtime(write_config(tmp_path, {"general": llama_folder}), work)


def test_a_watcher_is_told_of_the_end(tmp_path: Path, llama_folder: Path) -> None:
    async def work(runtime: Runtime) -> None:
        with runtime.feed.watched(kinds=["state"]) as listener:
            runtime._life.stop_accepting()
            taken = await listener.take(30)
            assert [event.what for event in taken.events] == [StateChanged("draining")]
            await runtime.drain(0.0)
            while not (await listener.take(30)).is_over:
                pass

    async def unchecked() -> None:
        from coe.assembly.wire import build_runtime
        from coe.config.read import load_config
        from router import GeneralOnly

        config = load_config(write_config(tmp_path, {"general": llama_folder}))
        runtime = build_runtime(config, GeneralOnly(general=config.router.general, names=config.names))
        await runtime.start()
        try:
            await work(runtime)
        finally:
            await runtime.close()

    asyncio.run(unchecked())
