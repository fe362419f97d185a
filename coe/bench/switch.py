"""`coe bench switch`: what it costs to run another expert, per tier, beside the limits and beside doing without coe.

Thirty experts of one size, made from the configuration's first by changing one bit per unit; memory for a few. Each
round visits every case once, so that no case has the machine's good minutes to itself. Ceilings, rivals and the
paper's policy are measured in the same run; every first token is compared with the same expert's in every other tier.
Whether copy and compute overlap is `overlap.py`'s to measure, what sharing saves `sharing.py`'s. `--device cuda` runs
every case on the GPU; `--synthetic 8b` does it with experts made on the spot.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from coe.assembly.processor import choose_device
from coe.bench.cast import Cast, configured_cast, synthetic_cast
from coe.bench.ceilings import Ceilings, measure_ceilings
from coe.bench.overlap import measure_overlap
from coe.bench.report import emit, median, p95, table
from coe.bench.rivals import Opened, build_with_safetensors, llama_cpp_opener, open_with_transformers
from coe.bench.sharing import measure_sharing
from coe.bench.stage import Stage, ask, drop_from_page_cache, unload
from coe.bench.synthetic import SHAPES
from coe.bench.traffic import measure_traffic
from coe.config.paths import cache_dir
from coe.config.schema import Config
from coe.machine.allowance import usable_cpus
from coe.machine.record import this_machine
from coe.runtime import Runtime
from coe.types import Message, Tier

__all__ = ["add_arguments", "run"]

VISITS = 3  # experts that a case visits per round
SECTIONS = ("overlap", "traffic", "rivals", "sharing")  # beside the cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5, help="rounds over all cases (default 5)")
    parser.add_argument("--experts", type=int, help="experts made from the first one (default 30; synthetic: 2)")
    parser.add_argument("--device", choices=("emulated", "cuda"), default="emulated", help="where host hits go")
    parser.add_argument(
        "--synthetic", choices=SHAPES, help="make random experts of this shape; no configuration needed"
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=cache_dir() / "synthetic",
        help="unit store for synthetic experts (default %(default)s)",
    )
    parser.add_argument(
        "--sections", nargs="*", choices=SECTIONS, default=SECTIONS, help="what to measure beside the cases (all)"
    )
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


def run(config: Config | None, arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints a table, then one JSON line. Returns the exit code: 1 if outputs differed.

    `config` is None for synthetic experts.
    """
    choose_device(arguments.device)  # before anything is written for a GPU that is not there
    cast = _cast(config, arguments)
    ceilings = measure_ceilings(cast.own.files_of(cast.own.names[0]), arguments.device)
    print(_ceilings_line(ceilings))
    rounds = _Rounds(cast, ceilings, arguments)
    asyncio.run(rounds.measure())
    rivals = _rivals(cast, rounds.token_ids, arguments) if cast.checkpoint and "rivals" in arguments.sections else []
    own = rounds.tokens.get(cast.base.spec.name)
    expected = set(rounds.tokens.values()) if own is None else {own}  # variants answer as their base does
    agreeing = [case.name for case, tokens in rivals if set(tokens) == expected]
    prefill_s = median(rounds.resident.first_token_s)
    rows = [case.figures(prefill_s) for case in (*rounds.cases, *(case for case, _ in rivals))]
    result = {
        "benchmark": "switch",
        "device": arguments.device,
        "cases": rows,
        **asyncio.run(_sections(cast, arguments)),
        "ceilings_bytes_per_s": {name: round(value) for name, value in asdict(ceilings).items() if value},
        "import_s": round(cast.import_s, 1),
        "num_experts": len(cast.own.imported),
        "expert_bytes": cast.base.manifest.size_bytes,
        "synthetic": arguments.synthetic,
        "dtype": cast.base.manifest.dtype,
        "num_prompt_tokens": len(rounds.token_ids),
        "num_outputs_compared": rounds.num_compared,
        "num_outputs_different": rounds.num_different,
        "rivals_with_same_token": agreeing,
        "hardware": asdict(this_machine()),
    }
    _print(result)
    out: Path | None = arguments.out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _plot(rows, out / "switch.png")
    emit(result, arguments.json, out / "switch.json" if out else None)
    return 0 if rounds.num_different == 0 else 1


def _cast(config: Config | None, arguments: argparse.Namespace) -> Cast:
    if config is not None:
        return configured_cast(config, arguments.experts)
    with_checkpoint = "rivals" in arguments.sections
    return synthetic_cast(arguments.synthetic, arguments.dir, arguments.experts, with_checkpoint=with_checkpoint)


async def _sections(cast: Cast, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for beside the cases."""
    stage, device, prompt, wanted = cast.own, arguments.device, arguments.prompt, arguments.sections
    found: dict[str, Any] = {}
    if "overlap" in wanted:
        found["overlap"] = await measure_overlap(stage, device, prompt, arguments.runs)
    if "traffic" in wanted:
        found["traffic"] = await measure_traffic(stage, _home(device), prompt, arguments.requests)
    if "sharing" in wanted:
        made = f"made: {cast.sharing.shared_share:.0%} of their bytes saved by sharing"
        found["sharing"] = [await measure_sharing(cast.sharing, device, made)]
        if cast.configured is not None:
            found["sharing"].append(await measure_sharing(cast.configured, device, "the configuration's own"))
    return found


def _home(device: str) -> str:
    """Where an expert runs that needs no wire: a GPU has none without."""
    return device if device == "cuda" else "cpu"


class _Rounds:
    """Every case once per round, on runtimes that stay up throughout."""

    def __init__(self, cast: Cast, ceilings: Ceilings, arguments: argparse.Namespace) -> None:
        self._stage, self._sharing, self._arguments = cast.own, cast.sharing, arguments
        wire = ceilings.pinned_copy or ceilings.memory_copy
        self.resident = Case("device hit")
        self.warm = Case("disk, page cache warm", ceilings.disk_cached)
        self.cold = Case("disk, page cache empty", ceilings.disk_direct)
        kept = next(iter(_own_shares(cast.sharing)))
        self.shared = Case(f"disk warm, {kept:.0%} shared with a resident", ceilings.disk_cached)
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
        home, num_host = _home(device), min(VISITS, len(stage.names))
        all_shared = self._sharing.distinct_bytes / self._sharing.expert_bytes + 0.01  # a page more than all of them
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            direct = await enter(stage.runtime(home, fits=2, host_fits=num_host))
            is_wired = home == device  # then every load takes the wire
            fits = min(2, len(stage.names) / 2)  # large experts are few
            wire = direct if is_wired else await enter(stage.runtime(device, fits=fits, host_fits=num_host))
            half = await enter(stage.runtime(device, fits=0.5, host_fits=1))
            sharing = await enter(self._sharing.runtime(home, fits=all_shared, host_fits=all_shared))
            self.token_ids = direct.experts.find(stage.names[0]).text.encode_chat(
                (Message("user", self._arguments.prompt),)
            )
            for number in range(self._arguments.runs):
                chosen = [stage.names[(number * VISITS + at) % len(stage.names)] for at in range(VISITS)]
                names = list(dict.fromkeys(chosen))
                await self._disk(direct, names)
                await self._device(direct, names)
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
            await runtime.operator.load(name)
        for name in names[:2]:
            await self._ask(runtime, self.resident, name)
        for name in names[:2]:
            self.resident.ready_s.append(await asyncio.wrap_future(runtime.engine.operator.switch_to(name)))

    async def _host(self, runtime: Runtime, names: Sequence[str]) -> None:
        for name in names[:2]:  # one to run, one to have been run before
            await runtime.operator.load(name)
        for name in names[:2]:
            await self._timed(runtime, self.host, name, partial(unload, runtime, names, keeps_host=True))
        await unload(runtime, names)

    async def _shared(self, runtime: Runtime) -> None:
        for name in self._sharing.names:  # all of them are here: only what differs has to move
            await runtime.operator.load(name)
        for name in self._sharing.names:
            await self._timed(runtime, self.shared, name, partial(unload, runtime, [name]))

    async def _larger(self, runtime: Runtime, name: str) -> None:
        await ask(runtime, name, self._arguments.prompt)  # from the disk to the host, where it stays
        before = runtime.metrics.snapshot().loaded_bytes[Tier.DEVICE]
        answer = await ask(runtime, name, self._arguments.prompt, 2)
        self._compare(name, answer.token_ids[0])
        self.larger.first_token_s.append(answer.first_token_s)
        copied = runtime.metrics.snapshot().loaded_bytes[Tier.DEVICE] - before
        self.larger.num_bytes.append(copied // 2)  # two steps
        await unload(runtime, [name], keeps_host=True)

    async def _timed(self, runtime: Runtime, case: Case, name: str, *prepare: Callable[[], Awaitable[None]]) -> None:
        """Time a load alone, then, from the same state, a request's first token."""
        for step in prepare:
            await step()
        missing = runtime.engine.status.missing_bytes(name)
        started_s = time.perf_counter()
        await runtime.operator.load(name)
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


def _own_shares(stage: Stage) -> list[float]:
    """How much of each expert the others of the stage have too."""
    uses = Counter(unit.hash for expert in stage.imported for unit in expert.manifest.units)
    return [
        sum(unit.size_bytes for unit in expert.manifest.units if uses[unit.hash] > 1) / expert.manifest.size_bytes
        for expert in stage.imported
    ]


def _rivals(cast: Cast, token_ids: tuple[int, ...], arguments: argparse.Namespace) -> list[tuple[Case, list[int]]]:
    """The same model opened anew: transformers at our precision and at the file's, llama.cpp for each GGUF named."""
    assert cast.checkpoint is not None
    folder, dtype, home = cast.checkpoint, cast.base.manifest.dtype, _home(arguments.device)
    openers: dict[str, Callable[[], Opened]] = {
        f"transformers from_pretrained, {name}": partial(open_with_transformers, folder, token_ids, name, home)
        for name in dict.fromkeys((dtype, "bfloat16"))
    }
    openers[f"safetensors load_file + build, {dtype}"] = partial(build_with_safetensors, folder, token_ids, dtype, home)
    for file in arguments.gguf:
        opener = llama_cpp_opener(file, usable_cpus())
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
    if "overlap" in result:
        _print_overlap(result["overlap"])
    for row in result.get("traffic", ()):
        print(
            f"mixed traffic, {row['policy']}: first token p50 {row['first_token_ms_p50']:.0f} ms, p95 "
            f"{row['first_token_ms_p95']:.0f} ms, {row['loaded_bytes'] / 1e9:.1f} GB moved, {row['took_s']:.1f} s"
        )
    if "sharing" in result:
        print(_sharing_table(result["sharing"]))
    compared, different = result["num_outputs_compared"], result["num_outputs_different"]
    agreeing = ", ".join(result["rivals_with_same_token"]) or "nobody"
    print(f"first tokens compared: {compared}, different: {different}; the same from: {agreeing}")


def _print_overlap(overlap: dict[str, Any]) -> None:
    for row in overlap["capped_wire"]:
        print(
            f"wire capped to {row['copy_over_prefill']:g} x prefill: first token {row['first_token_ms_p50']:.1f} ms, "
            f"max(copy, prefill) + one unit {row['bound_ms']:.1f} ms, ratio {row['over_bound']:.3f}"
        )
    beside = overlap["beside_a_load"]
    print(
        f"warm expert's p95 between tokens: alone {beside['alone_ms_p95']:.1f} ms, beside a load from a disk of "
        f"{beside['disk_bytes_per_s'] / 1e6:.0f} MB/s {beside['beside_ms_p95']:.1f} ms, ratio {beside['ratio']:.3f}"
    )


def _sharing_table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("experts that share a base", "sharing", "MB read", "MB copied", "MB in host", "MB on device")
    cells = [
        (
            f"{row['num_experts']} x {row['expert_bytes'] / 1e6:.0f} MB, {row['what']}",
            "on" if name == "with_sharing" else "off",
            *(f"{row[name][key] / 1e6:.1f}" for key in ("read_bytes", "copied_bytes", "host_bytes", "device_bytes")),
        )
        for row in rows
        for name in ("with_sharing", "without_sharing")
    ]
    return table(heads, cells)


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
