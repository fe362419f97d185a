"""`coe bench switch`: what it costs to run another expert, per tier, beside the limits and beside doing without coe.

Cycles through all experts of a configuration. Times until weights are usable and until the first token of a request,
with outputs compared. Ceilings and rivals are measured in the same run at the same sizes. Not covered yet:
CUDA, traffic from several clients at once.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from coe.bench.ceilings import Ceilings, drop_from_page_cache, measure_ceilings
from coe.bench.report import emit, hardware, median, p95, table
from coe.bench.rivals import Opened, llama_cpp_opener, open_with_transformers
from coe.composition import Imported, build_runtime, imported_experts
from coe.config import Config
from coe.runtime import Runtime
from coe.types import Decision, Delta, Finished, GenerateRequest, Message, RouteQuery, Sampling
from coe.weights.store import UnitStore

__all__ = ["run"]


@dataclass(slots=True)
class Case:
    """One row: a tier, what was timed in it, and the limit it runs into."""

    name: str
    ceiling_bytes_per_s: float | None = None
    ready_s: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    num_bytes: list[int] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        ready_s, size = median(self.ready_s), median(self.num_bytes or [0])
        speed = size / ready_s if size else None
        return {
            "case": self.name,
            "ready_ms_p50": round(ready_s * 1e3, 3),
            "ready_ms_p95": round(p95(self.ready_s) * 1e3, 3),
            "first_token_ms_p50": round(median(self.first_token_s) * 1e3, 3),
            "first_token_ms_p95": round(p95(self.first_token_s) * 1e3, 3),
            "bytes": int(size),
            "bytes_per_s": speed and round(speed),
            "fraction_of_ceiling": round(speed / self.ceiling_bytes_per_s, 3)
            if speed and self.ceiling_bytes_per_s
            else None,
            "num_runs": len(self.ready_s),
        }


class _Explicit:
    """A router for a benchmark that always names its expert."""

    def route(self, queries: Sequence[RouteQuery]) -> Sequence[Decision]:
        return [_Named(query.expert or "", query.messages[-1].content) for query in queries]


@dataclass(frozen=True, slots=True)
class _Named:
    expert: str
    text: str
    category: str | None = None
    confidence: float | None = None
    why: str = "model"
    probabilities: dict[str, float] = field(default_factory=dict)
    because: str = "the benchmark names it"
    rule: None = None
    instead_of: None = None
    cost: None = None
    nearest: tuple[()] = ()


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints a table, then one JSON line. Returns the exit code: 1 if outputs differed."""
    store, imported, errors = imported_experts(config)
    for error in errors.values():
        print(f"left out: {error}")
    ceilings = measure_ceilings([store.path(unit) for unit in imported[0].manifest.units])
    print(_ceilings_line(ceilings))
    switching = _Switching(config, store, imported, arguments.prompt, arguments.runs)
    cases = asyncio.run(switching.measure(ceilings))
    rivals = _rivals(imported[0], switching.token_ids, arguments)
    ours = switching.tokens[imported[0].spec.name]
    agreeing = [case.name for case, tokens in rivals if set(tokens) == {ours}]
    rows = [case.figures() for case in cases] + [case.figures() for case, _ in rivals]
    print(_table(rows))
    print(f"first tokens compared: {switching.num_compared}, different: {switching.num_different}")
    print(f"same first token from: {', '.join(agreeing) or 'nobody'} ({len(agreeing)} of {len(rivals)})")
    result = {
        "benchmark": "switch",
        "cases": rows,
        "ceilings_bytes_per_s": {name: round(value) for name, value in asdict(ceilings).items()},
        "num_experts": len(imported),
        "expert_bytes": imported[0].manifest.size_bytes,
        "dtype": imported[0].manifest.dtype,
        "num_prompt_tokens": len(switching.token_ids),
        "num_outputs_compared": switching.num_compared,
        "num_outputs_different": switching.num_different,
        "rivals_with_same_token": agreeing,
        "hardware": hardware(),
    }
    out: Path | None = arguments.out
    if out is not None:
        _plot(rows, out / "switch.png")
    emit(result, arguments.json, out / "switch.json" if out else None)
    return 0 if switching.num_different == 0 else 1


class _Switching:
    """The timed rounds over all experts, first as a CPU has them, then over the emulated wire."""

    def __init__(
        self, config: Config, store: UnitStore, imported: Sequence[Imported], prompt: str, num_rounds: int
    ) -> None:
        self._config, self._store, self._imported = config, store, imported
        self._prompt, self._num_rounds = prompt, num_rounds
        self._names = [expert.spec.name for expert in imported]
        self.token_ids: tuple[int, ...] = ()
        self.tokens: dict[str, int] = {}  # each expert's first token
        self.num_compared = self.num_different = 0

    async def measure(self, ceilings: Ceilings) -> list[Case]:
        cases = await self._on("cpu", lambda runtime: self._cpu_rounds(runtime, ceilings))
        cases += await self._on("emulated", lambda runtime: self._wire_rounds(runtime, ceilings))
        return cases

    async def _on(self, device: str, rounds: Callable[[Runtime], Awaitable[list[Case]]]) -> list[Case]:
        engine = replace(self._config.engine, device=device)  # type: ignore[arg-type]
        runtime = build_runtime(replace(self._config, engine=engine), _Explicit())
        await runtime.start()
        try:
            self.token_ids = runtime.encode(self._names[0], (Message("user", self._prompt),))
            return await rounds(runtime)
        finally:
            await runtime.close()

    async def _cpu_rounds(self, runtime: Runtime, ceilings: Ceilings) -> list[Case]:
        resident = Case("device hit")
        warm = Case("disk, page cache warm", ceilings.disk_cached)
        cold = Case("disk, page cache empty", ceilings.disk_direct)
        shared = Case("disk warm, base shared", ceilings.disk_cached)
        for _ in range(self._num_rounds):
            for name in self._names:
                await self._timed(runtime, cold, name, self._unload_all, self._drop_files)
                await self._timed(runtime, warm, name, self._unload_all)
            for name in self._names:  # all of them are here: only what differs has to move
                await runtime.load(name)
            if len(self._names) > 1:
                for name in self._names:
                    await self._timed(runtime, shared, name, self._unload_one)
            for name in self._names:
                await self._ask(runtime, resident, name)
                resident.ready_s.append(await asyncio.wrap_future(runtime.engine.switch_to(name)))
        return [case for case in (resident, shared, warm, cold) if case.ready_s]

    async def _wire_rounds(self, runtime: Runtime, ceilings: Ceilings) -> list[Case]:
        wire = Case("host hit, emulated wire", ceilings.memory_copy)
        for name in self._names[:2]:  # one to run, one to have been run before
            await runtime.load(name)
        for _ in range(self._num_rounds):
            for name in self._names[:2]:
                await self._timed(runtime, wire, name, self._leave_device)
        return [wire]

    async def _timed(
        self, runtime: Runtime, case: Case, name: str, *prepare: Callable[[Runtime, str], Awaitable[None]]
    ) -> None:
        """Time a load alone, then, from the same state, a request's first token."""
        for step in prepare:
            await step(runtime, name)
        missing = runtime.engine.missing_bytes(name)
        started_s = time.perf_counter()
        await runtime.load(name)
        case.ready_s.append(time.perf_counter() - started_s)
        case.num_bytes.append(missing)
        for step in prepare:
            await step(runtime, name)
        await self._ask(runtime, case, name)

    async def _ask(self, runtime: Runtime, case: Case, name: str) -> None:
        sampling = Sampling(max_tokens=1, temperature=0.0)
        request = GenerateRequest(
            f"bench-{time.monotonic_ns()}", (Message("user", self._prompt),), expert=name, sampling=sampling
        )
        async for event in runtime.generate(request):
            if isinstance(event, Delta):
                self._compare(name, event.token_ids[0])
            elif isinstance(event, Finished):
                case.first_token_s.append(event.switch.first_token_s)

    def _compare(self, name: str, token_id: int) -> None:
        self.num_compared += 1
        self.num_different += self.tokens.setdefault(name, token_id) != token_id

    async def _unload_all(self, runtime: Runtime, _: str) -> None:
        for name in self._names:
            await runtime.unload(name)

    async def _unload_one(self, runtime: Runtime, name: str) -> None:
        await runtime.unload(name)

    async def _leave_device(self, runtime: Runtime, _: str) -> None:
        for name in self._names:
            await asyncio.wrap_future(runtime.engine.unload(name, keeps_host=True))

    async def _drop_files(self, _: Runtime, name: str) -> None:
        units = next(expert.manifest.units for expert in self._imported if expert.spec.name == name)
        drop_from_page_cache([self._store.path(unit) for unit in units])


def _rivals(first: Imported, token_ids: tuple[int, ...], arguments: argparse.Namespace) -> list[tuple[Case, list[int]]]:
    """The same model opened anew: transformers at our precision and at the file's, llama.cpp for each GGUF named."""
    folder, dtype = first.spec.folder, first.manifest.dtype
    openers: dict[str, Callable[[], Opened]] = {
        f"transformers from_pretrained, {name}": partial(open_with_transformers, folder, token_ids, name)
        for name in dict.fromkeys((dtype, "bfloat16"))
    }
    for file in arguments.gguf:
        opener = llama_cpp_opener(file, hardware()["num_cpus"])
        if opener is None:
            print(f"left out: llama.cpp on {file.name} (llama-cpp-python is not installed)")
        else:
            openers[f"llama.cpp, {file.stem}"] = partial(opener, token_ids)
    measured = []
    for name, opener_of in openers.items():
        opener_of()  # page cache and imports warm
        opened = [opener_of() for _ in range(max(5, arguments.runs))]
        case = Case(name, None, [each.ready_s for each in opened], [each.first_token_s for each in opened])
        measured.append((case, [each.token_id for each in opened]))
    return measured


def _ceilings_line(ceilings: Ceilings) -> str:
    facts = {name.replace("_", " "): value for name, value in asdict(ceilings).items()}
    return "ceilings: " + ", ".join(f"{name} {value / 1e9:.2f} GB/s" for name, value in facts.items())


def _table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("case", "ready ms p50", "p95", "first token ms p50", "p95", "MB", "GB/s", "of ceiling")
    cells = [
        (
            row["case"],
            f"{row['ready_ms_p50']:.2f}",
            f"{row['ready_ms_p95']:.2f}",
            f"{row['first_token_ms_p50']:.1f}",
            f"{row['first_token_ms_p95']:.1f}",
            f"{row['bytes'] / 1e6:.0f}" if row["bytes"] else "-",
            f"{row['bytes_per_s'] / 1e9:.2f}" if row["bytes_per_s"] else "-",
            f"{row['fraction_of_ceiling']:.0%}" if row["fraction_of_ceiling"] else "-",
        )
        for row in rows
    ]
    return table(heads, cells)


def _plot(rows: Sequence[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [row["case"] for row in rows][::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(rows) + 1.2), layout="constrained")
    axes.barh(names, [row["first_token_ms_p50"] for row in rows][::-1], color="#9ec5e8", label="first token")
    axes.barh(names, [row["ready_ms_p50"] for row in rows][::-1], color="#1f5f99", height=0.4, label="weights usable")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, median (log scale)")
    axes.legend(loc="lower right")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
