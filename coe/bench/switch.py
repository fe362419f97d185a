"""`coe bench switch`: what it costs to run another expert, per tier, beside the limits and beside doing without coe.

Thirty experts of one size, made from the configuration's first by changing one bit per unit; memory for a few. Each
round visits every case once, so that no case has the machine's good minutes to itself. Ceilings, rivals and the
paper's policy are measured in the same run; every first token is compared with the same expert's in every other tier.
Whether copy and compute overlap is `overlap.py`'s to measure. `--device cuda` takes the GPU where the emulated device
would be.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from coe.bench.ceilings import Ceilings, measure_ceilings
from coe.bench.overlap import measure_overlap
from coe.bench.report import emit, hardware, median, p95, table
from coe.bench.rivals import Opened, build_with_safetensors, llama_cpp_opener, open_with_transformers
from coe.bench.stage import Stage, ask, drop_from_page_cache, unload
from coe.bench.traffic import measure_traffic
from coe.bench.variants import make_variants
from coe.composition import Imported, imported_experts
from coe.config import Config
from coe.runtime import Runtime
from coe.types import Message

__all__ = ["add_arguments", "run"]

VISITS = 3  # experts that a case visits per round


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5, help="rounds over all cases (default 5)")
    parser.add_argument("--experts", type=int, default=30, help="experts made from the first one (default 30)")
    parser.add_argument("--device", choices=("emulated", "cuda"), default="emulated", help="where host hits go")
    parser.add_argument("--out", type=Path, help="folder for switch.json and switch.png")
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--requests", type=int, default=120, help="requests of the mixed traffic (default 120)")
    parser.add_argument(
        "--gguf", type=Path, action="append", default=[], help="a GGUF of the first expert, for llama.cpp (repeatable)"
    )
    parser.add_argument("--prompt", default="What is the capital of France?", help="what every expert is asked")


@dataclass(slots=True)
class Case:
    """One row: a tier, what was timed in it, and the limit it runs into."""

    name: str
    ceiling_bytes_per_s: float | None = None
    ready_s: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    num_bytes: list[int] = field(default_factory=list)

    def figures(self, prefill_s: float) -> dict[str, Any]:
        """Medians; `prefill_s` is what the first token of a resident expert takes."""
        ready_s, size = median(self.ready_s or [0.0]), median(self.num_bytes or [0])
        first_s = median(self.first_token_s)
        speed = size / ready_s if size and ready_s else None
        hidden = (ready_s + prefill_s - first_s) / min(ready_s, prefill_s) if speed else None
        return {
            "case": self.name,
            "ready_ms_p50": round(ready_s * 1e3, 3),
            "ready_ms_p95": round(p95(self.ready_s or [0.0]) * 1e3, 3),
            "first_token_ms_p50": round(first_s * 1e3, 3),
            "first_token_ms_p95": round(p95(self.first_token_s) * 1e3, 3),
            "bytes": int(size),
            "bytes_per_s": speed and round(speed),
            "fraction_of_ceiling": round(speed / self.ceiling_bytes_per_s, 3)
            if speed and self.ceiling_bytes_per_s
            else None,
            "hidden_share": None if hidden is None else round(max(0.0, min(1.0, hidden)), 3),
            "num_runs": len(self.first_token_s),
        }


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints a table, then one JSON line. Returns the exit code: 1 if outputs differed."""
    store, imported, errors = imported_experts(config)
    for error in errors.values():
        print(f"left out: {error}")
    base = imported[0]
    num_units = len(base.manifest.units)
    own = make_variants(store, base, arguments.experts)
    sharing = make_variants(store, base, 3, num_shared=num_units // 2, name="s")
    stage = Stage(config, store, own.experts)
    ceilings = measure_ceilings(stage.files_of(stage.names[0]), arguments.device)
    print(_ceilings_line(ceilings))
    rounds = _Rounds(stage, Stage(config, store, sharing.experts), ceilings, arguments)
    asyncio.run(rounds.measure())
    prefill_s = median(rounds.resident.first_token_s)
    overlap = asyncio.run(measure_overlap(stage, arguments.device, arguments.prompt, arguments.runs))
    traffic = asyncio.run(measure_traffic(stage, arguments.prompt, arguments.requests))
    rivals = _rivals(base, rounds.token_ids, arguments)
    agreeing = [case.name for case, tokens in rivals if set(tokens) == set(rounds.tokens.values())]
    rows = [case.figures(prefill_s) for case in rounds.cases] + [case.figures(prefill_s) for case, _ in rivals]
    result = {
        "benchmark": "switch",
        "device": arguments.device,
        "cases": rows,
        "overlap": overlap,
        "traffic": traffic,
        "ceilings_bytes_per_s": {name: round(value) for name, value in asdict(ceilings).items() if value},
        "import_s": round(own.import_s, 1),
        "num_experts": arguments.experts,
        "expert_bytes": base.manifest.size_bytes,
        "dtype": base.manifest.dtype,
        "num_prompt_tokens": len(rounds.token_ids),
        "num_outputs_compared": rounds.num_compared,
        "num_outputs_different": rounds.num_different,
        "rivals_with_same_token": agreeing,
        "hardware": hardware(),
    }
    _print(result)
    out: Path | None = arguments.out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _plot(rows, out / "switch.png")
    emit(result, arguments.json, out / "switch.json" if out else None)
    return 0 if rounds.num_different == 0 else 1


class _Rounds:
    """Every case once per round, on runtimes that stay up throughout."""

    def __init__(self, stage: Stage, sharing: Stage, ceilings: Ceilings, arguments: argparse.Namespace) -> None:
        self._stage, self._sharing, self._arguments = stage, sharing, arguments
        wire = ceilings.pinned_copy or ceilings.memory_copy
        self.resident = Case("device hit")
        self.warm = Case("disk, page cache warm", ceilings.disk_cached)
        self.cold = Case("disk, page cache empty", ceilings.disk_direct)
        self.shared = Case("disk warm, half shared with a resident", ceilings.disk_cached)
        self.host = Case(f"host hit, {arguments.device} wire", wire)
        self.larger = Case(f"twice the {arguments.device} device, streaming")
        self.token_ids: tuple[int, ...] = ()
        self.tokens: dict[str, int] = {}  # each expert's first token
        self.num_compared = self.num_different = 0

    @property
    def cases(self) -> list[Case]:
        return [self.resident, self.host, self.shared, self.warm, self.cold, self.larger]

    async def measure(self) -> None:
        stage, device = self._stage, self._arguments.device
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            cpu = await enter(stage.runtime("cpu", fits=2))
            wire = await enter(stage.runtime(device, fits=2, host_fits=3))
            half = await enter(stage.runtime(device, fits=0.5, host_fits=1))
            sharing = await enter(self._sharing.runtime("cpu", fits=3))
            self.token_ids = cpu.encode(stage.names[0], (Message("user", self._arguments.prompt),))
            for number in range(self._arguments.runs):
                names = [stage.names[(number * VISITS + at) % len(stage.names)] for at in range(VISITS)]
                await self._disk(cpu, names)
                await self._device(cpu, names)
                await self._host(wire, names)
                await self._shared(sharing)
                await self._larger(half, names[0])

    async def _disk(self, runtime: Runtime, names: Sequence[str]) -> None:
        for name in names:
            await self._timed(runtime, self.cold, name, partial(unload, runtime, names), partial(self._drop, name))
            await self._timed(runtime, self.warm, name, partial(unload, runtime, names), partial(self._read, name))

    async def _device(self, runtime: Runtime, names: Sequence[str]) -> None:
        await unload(runtime, self._stage.names)  # what was asked more often would stay in their place
        for name in names[:2]:
            await runtime.load(name)
        for name in names[:2]:
            await self._ask(runtime, self.resident, name)
        for name in names[:2]:
            self.resident.ready_s.append(await asyncio.wrap_future(runtime.engine.switch_to(name)))

    async def _host(self, runtime: Runtime, names: Sequence[str]) -> None:
        for name in names[:2]:  # one to run, one to have been run before
            await runtime.load(name)
        for name in names[:2]:
            await self._timed(runtime, self.host, name, partial(unload, runtime, names, keeps_host=True))
        await unload(runtime, names)

    async def _shared(self, runtime: Runtime) -> None:
        for name in self._sharing.names:  # all of them are here: only what differs has to move
            await runtime.load(name)
        for name in self._sharing.names:
            await self._timed(runtime, self.shared, name, partial(unload, runtime, [name]))

    async def _larger(self, runtime: Runtime, name: str) -> None:
        answer = await ask(runtime, name, self._arguments.prompt, 2)
        self._compare(name, answer.token_ids[0])
        self.larger.first_token_s.append(answer.first_token_s)
        self.larger.num_bytes.append(answer.switch.loaded_bytes // 2)  # two steps
        await unload(runtime, [name], keeps_host=True)

    async def _timed(self, runtime: Runtime, case: Case, name: str, *prepare: Callable[[], Awaitable[None]]) -> None:
        """Time a load alone, then, from the same state, a request's first token."""
        for step in prepare:
            await step()
        missing = runtime.engine.missing_bytes(name)
        started_s = time.perf_counter()
        await runtime.load(name)
        case.ready_s.append(time.perf_counter() - started_s)
        case.num_bytes.append(missing)
        for step in prepare:
            await step()
        await self._ask(runtime, case, name)

    async def _ask(self, runtime: Runtime, case: Case, name: str) -> None:
        answer = await ask(runtime, name, self._arguments.prompt)
        case.first_token_s.append(answer.first_token_s)
        self._compare(name, answer.token_ids[0])

    def _compare(self, name: str, token_id: int) -> None:
        self.num_compared += 1
        self.num_different += self.tokens.setdefault(name, token_id) != token_id

    async def _drop(self, name: str) -> None:
        drop_from_page_cache(self._stage.files_of(name))

    async def _read(self, name: str) -> None:
        for file in self._stage.files_of(name):
            file.read_bytes()


def _rivals(first: Imported, token_ids: tuple[int, ...], arguments: argparse.Namespace) -> list[tuple[Case, list[int]]]:
    """The same model opened anew: transformers at our precision and at the file's, llama.cpp for each GGUF named."""
    folder, dtype = first.spec.folder, first.manifest.dtype
    openers: dict[str, Callable[[], Opened]] = {
        f"transformers from_pretrained, {name}": partial(open_with_transformers, folder, token_ids, name)
        for name in dict.fromkeys((dtype, "bfloat16"))
    }
    openers[f"safetensors load_file + build, {dtype}"] = partial(build_with_safetensors, folder, token_ids, dtype)
    for file in arguments.gguf:
        opener = llama_cpp_opener(file, hardware()["num_cpus"])
        if opener is None:
            print(f"left out: llama.cpp on {file.name} (llama-cpp-python is not installed)")
        else:
            openers[f"llama.cpp, {file.stem}"] = partial(opener, token_ids)
    cases = {name: Case(name) for name in openers}
    tokens: dict[str, list[int]] = {name: [] for name in openers}
    for number in range(arguments.runs + 1):
        for name, opener_of in openers.items():
            opened = opener_of()
            if number:  # the first round warms page cache and imports
                cases[name].ready_s.append(opened.ready_s)
                cases[name].first_token_s.append(opened.first_token_s)
                tokens[name].append(opened.token_id)
    return [(cases[name], tokens[name]) for name in openers]


def _ceilings_line(ceilings: Ceilings) -> str:
    facts = {name.replace("_", " "): value for name, value in asdict(ceilings).items() if value}
    return "ceilings: " + ", ".join(f"{name} {value / 1e9:.2f} GB/s" for name, value in facts.items())


def _print(result: dict[str, Any]) -> None:
    print(_table(result["cases"]))
    for row in result["overlap"]["capped_wire"]:
        print(
            f"wire capped to {row['copy_over_prefill']:g} x prefill: first token {row['first_token_ms_p50']:.1f} ms, "
            f"max(copy, prefill) + one unit {row['bound_ms']:.1f} ms, ratio {row['over_bound']:.3f}"
        )
    beside = result["overlap"]["beside_a_load"]
    print(
        f"warm expert's p95 between tokens: alone {beside['alone_ms_p95']:.1f} ms, beside a load from a disk of "
        f"{beside['disk_bytes_per_s'] / 1e6:.0f} MB/s {beside['beside_ms_p95']:.1f} ms, ratio {beside['ratio']:.3f}"
    )
    for row in result["traffic"]:
        print(
            f"mixed traffic, {row['policy']}: first token p50 {row['first_token_ms_p50']:.0f} ms, p95 "
            f"{row['first_token_ms_p95']:.0f} ms, {row['loaded_bytes'] / 1e9:.1f} GB moved, {row['took_s']:.1f} s"
        )
    compared, different = result["num_outputs_compared"], result["num_outputs_different"]
    agreeing = ", ".join(result["rivals_with_same_token"]) or "nobody"
    print(f"first tokens compared: {compared}, different: {different}; the same from: {agreeing}")


def _table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("case", "ready ms p50", "p95", "first token ms p50", "p95", "MB", "GB/s", "of ceiling", "hidden")
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
            f"{row['hidden_share']:.0%}" if row["hidden_share"] is not None else "-",
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
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
