"""Real runtimes over tiny models for tests, driven on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from pages import check_kv_pages

from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.errors import CoeError
from coe.runtime import Runtime
from coe.types import Delta, Finished, GenerateRequest, Message, Sampling
from router import GeneralOnly

T = TypeVar("T")


def write_config(folder: Path, experts: dict[str, Path], more: str = "") -> Path:
    """Write a coe.toml with these experts (the first is the general one) and a store of its own."""
    lines = ["[experts]", *(f'{name} = "{source}"' for name, source in experts.items())]
    lines += ["[router]", f'general = "{next(iter(experts))}"', "[cache]", f'dir = "{folder / "store"}"']
    lines += ['host_bytes = "64MB"', "[engine]", 'dtype = "float32"', 'device = "cpu"', "num_threads = 1", more]
    file = folder / "coe.toml"
    file.write_text("\n".join(lines))
    return file


def with_runtime(config_file: Path, work: Callable[[Runtime], Awaitable[T]]) -> T:
    """Build and start a runtime, run `work`, check the books, close."""

    async def run() -> T:
        config = load_config(config_file)
        runtime = build_runtime(config, GeneralOnly(general=config.router.general, names=config.names))
        await runtime.start()
        try:
            result = await work(runtime)
            await integrity(runtime)
            return result
        finally:
            await runtime.close()

    return asyncio.run(run())


async def integrity(runtime: Runtime) -> None:
    await asyncio.wrap_future(runtime.engine.call(runtime.engine.check_integrity))
    await asyncio.wrap_future(runtime.engine.call(lambda: check_kv_pages(runtime.engine)))


async def ask(runtime: Runtime, name: str, prompt: str, num_tokens: int = 64, **sampling: object) -> list[int]:
    """Greedy token ids of one expert's answer, unless `sampling` says otherwise."""
    settings = Sampling(**{"max_tokens": num_tokens, "temperature": 0.0, **sampling})  # type: ignore[arg-type]
    ask.count = getattr(ask, "count", 0) + 1  # type: ignore[attr-defined]
    request = GenerateRequest(
        f"r{ask.count}",  # type: ignore[attr-defined]
        messages=(Message("user", prompt),),
        expert=name,
        sampling=settings,
    )
    tokens: list[int] = []
    async for event in runtime.generate(request):
        if isinstance(event, Delta):
            tokens.extend(event.token_ids)
        elif isinstance(event, Finished):
            assert event.usage.completion_tokens == len(tokens)
    return tokens


async def outcome(runtime: Runtime, name: str, prompt: str, num_tokens: int) -> str:
    """How a request ended: ok, or the error's class."""
    try:
        await ask(runtime, name, prompt, num_tokens)
    except CoeError as error:
        return type(error).__name__
    return "ok"


__all__ = ["ask", "integrity", "outcome", "with_runtime", "write_config"]
