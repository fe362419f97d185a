"""`coe bench engine`: tokens a second and time to first token, beside what people run today and the memory's ceiling.

A grid of batch sizes and prompt lengths on one expert; every contender gets the same token ids at the same precision in
the same run. Batch 1 is also taken apart: what of a step is matrix products and what is around them. `--device cuda` is
`device_engine.py`'s. Not covered: several experts, arrivals over time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from coe.assembly.import_experts import Imported, imported_experts
from coe.bench import device_engine
from coe.bench.contenders import (
    Coe,
    Contender,
    Trace,
    TransformersBatching,
    TransformersGenerate,
    open_with_transformers,
)
from coe.bench.llama_cpp import KINDS, LlamaCpp, gguf_at
from coe.bench.report import emit, median, table
from coe.bench.running_text import TEXT, prompt_of
from coe.bench.step_profile import HandDriven, StepProfile, profile_step, read_bytes_per_s
from coe.config.read import load_config
from coe.config.schema import Config
from coe.errors import ConfigError, WeightsError
from coe.machine.allowance import usable_cpus
from coe.machine.record import this_machine
from coe.weights.unit import Manifest

__all__ = ["add_arguments", "run"]

ENOUGH_S = 20.0  # a cell that takes longer is run once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expert", help="which expert (default: the general one)")
    parser.add_argument("--quick", action="store_true", help="a trial: small cells, one run")
    parser.add_argument("--batches", type=int, nargs="+", help="batch sizes (default 1 4 8 16 32)")
    parser.add_argument("--prompts", type=int, nargs="+", help="prompt lengths in tokens (default 64 512 2048)")
    parser.add_argument("--tokens", type=int, help="new tokens a sequence (default 32)")
    parser.add_argument("--runs", type=int, default=3, help="runs of a cell, medians (default 3)")
    parser.add_argument("--out", type=Path, help="folder for engine-<dtype>.json and .png")
    parser.add_argument("--json", type=Path, help="write the result here too")
    text = "a GGUF of the expert; made into the same precision"
    parser.add_argument("--gguf", type=Path, action="append", default=[], help=text)
    parser.add_argument("--no-transformers", action="store_true", help="leave transformers out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: captured and eager, no rivals")
    text = "cuda: a random model of this size too (8b, 1b; repeatable)"
    parser.add_argument("--synthetic", action="append", default=[], metavar="SIZE", help=text)


@dataclass(frozen=True, slots=True)
class Cell:
    """One contender at one batch size and prompt length; medians over runs."""

    contender: str
    batch_size: int
    prompt_tokens: int
    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_ms: float
    last_first_token_ms: float
    num_runs: int
    same_tokens: float  # share of sequences whose tokens equal ours


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints tables, then one JSON line."""
    config = load_config(arguments.config)
    if arguments.device == "cuda":
        return device_engine.run(config, arguments)
    grid = _Grid(config, arguments)
    ceiling = grid.print_ceiling()
    profile = grid.print_profile()
    cells = list(grid.cells())
    print(_table(cells, ceiling))
    ratios = _ratios(cells)
    print(_ratio_table(ratios))
    result = {
        "benchmark": "engine",
        "expert": grid.expert,
        "dtype": grid.manifest.dtype,
        "weight_bytes": grid.manifest.size_bytes,
        "ceiling_tokens_per_s": round(ceiling, 1),
        "num_new_tokens": grid.num_tokens,
        "cells": [{**asdict(cell), **_fraction(cell, ceiling)} for cell in cells],
        "ratios_to_coe": ratios,
        "same_with_seed": grid.seeded,
        "profile_batch_1": profile
        and {**asdict(profile), "fraction_outside_matmuls": round(profile.outside_matmuls, 3)},
        "hardware": asdict(this_machine()),
    }
    out: Path | None = arguments.out
    name = f"engine-{grid.manifest.dtype}"
    if out is not None:
        _plot(cells, ceiling, out / f"{name}.png")
    emit(result, arguments.json, out / f"{name}.json" if out else None)
    return 0


class _Grid:
    """All cells of one run, largest last; contenders take turns cell by cell, so that all see the same machine."""

    def __init__(self, config: Config, arguments: argparse.Namespace) -> None:
        self.config, self.arguments = config, arguments
        self.expert = arguments.expert or config.router.general
        if self.expert not in {each.name for each in config.experts}:
            raise ConfigError(f"--expert {self.expert}: the experts are {', '.join(e.name for e in config.experts)}")
        self.batch_sizes: list[int] = arguments.batches or ([1, 4] if arguments.quick else [1, 4, 8, 16, 32])
        self.prompt_lengths: list[int] = arguments.prompts or ([32] if arguments.quick else [64, 512, 2048])
        self.num_tokens: int = arguments.tokens or (4 if arguments.quick else 32)
        self.num_threads: int = config.engine.num_threads or usable_cpus()
        torch.set_num_threads(self.num_threads)
        self.seeded = 0.0
        self.store, imported, errors = imported_experts(config)
        if self.expert in errors:
            raise errors[self.expert]
        self.imported: Imported = next(each for each in imported if each.spec.name == self.expert)
        self.manifest: Manifest = self.imported.manifest

    def print_ceiling(self) -> float:
        speed = read_bytes_per_s(self.manifest.size_bytes)
        ceiling = speed / self.manifest.size_bytes
        print(
            f"ceiling: {self.manifest.size_bytes / 1e6:.0f} MB of weights are read at {speed / 1e9:.1f} GB/s by "
            f"{self.num_threads} threads, so batch 1 decodes at most {ceiling:.1f} tokens/s"
        )
        return ceiling

    def print_profile(self) -> StepProfile | None:
        try:
            expert = HandDriven(self.store, self.manifest)
        except WeightsError as error:
            print(f"no profile: {error}")
            return None
        profile = profile_step(expert, 3 if self.arguments.quick else 30)
        _print_profile(profile)
        return profile

    def cells(self) -> Iterator[Cell]:
        contenders = self.contenders()
        ours = contenders[0]
        assert isinstance(ours, Coe)
        words = ours.tokens(TEXT)
        for length in self.prompt_lengths:
            for size in self.batch_sizes:
                prompts = [prompt_of(words, row, length) for row in range(size)]
                reference: list[list[int]] | None = None
                for contender in contenders:
                    traces = self.runs(contender, prompts)
                    reference = reference or traces[0].token_ids
                    cell = _cell(contender.name, prompts, traces, reference)
                    print(_line(cell), flush=True)
                    yield cell
        self.seeded = self.same_with_seed(ours, words)
        for contender in contenders:
            contender.close()

    def same_with_seed(self, ours: Coe, words: list[int]) -> float:
        """Share of sampled texts that are the same alone and beside all the others."""
        count = max(self.batch_sizes)
        prompts = [prompt_of(words, row, min(self.prompt_lengths)) for row in range(count)]
        together = ours.run(prompts, self.num_tokens, range(count)).token_ids
        alone = [ours.run([prompt], self.num_tokens, [seed]).token_ids[0] for seed, prompt in enumerate(prompts)]
        same = sum(left == right for left, right in zip(together, alone, strict=True))
        print(f"seeded at temperature 1: {same} of {count} texts are the same alone and in a batch of {count}")
        return round(same / count, 3)

    def runs(self, contender: Contender, prompts: list[list[int]]) -> list[Trace]:
        if not self.arguments.quick:
            contender.run(prompts[:1], 2)  # allocators and thread pools warm
        traces: list[Trace] = []
        started_s = time.monotonic()
        for _ in range(1 if self.arguments.quick else self.arguments.runs):
            traces.append(contender.run(prompts, self.num_tokens))
            if time.monotonic() - started_s > ENOUGH_S:
                break
        return traces

    def contenders(self) -> list[Contender]:
        dtype = self.manifest.dtype
        found: list[Contender] = [Coe.alone(self.config, self.expert, max(self.batch_sizes))]
        theirs = "float32" if dtype == "int8" else dtype
        if self.imported.spec.adapter is None and not self.arguments.no_transformers:
            model = open_with_transformers(self.imported.spec.folder, theirs)
            found += [TransformersGenerate(model, theirs), TransformersBatching(model, theirs)]
        for file in self.arguments.gguf:
            if find_spec("llama_cpp") is None:
                print(f"left out: llama.cpp on {file.name} (llama-cpp-python is not installed)")
            else:
                found.append(LlamaCpp(gguf_at(file, KINDS[dtype]), self.num_threads))
        return found


def _cell(name: str, prompts: list[list[int]], traces: Sequence[Trace], reference: list[list[int]]) -> Cell:
    size, length = len(prompts), len(prompts[0])
    same = sum(ours == theirs for ours, theirs in zip(reference, traces[0].token_ids, strict=True))
    return Cell(
        contender=name,
        batch_size=size,
        prompt_tokens=length,
        decode_tokens_per_s=round(_median(traces, lambda trace: trace.decode_tokens_per_s), 2),
        prefill_tokens_per_s=round(_median(traces, lambda trace: size * length / trace.prefilled_s), 1),
        first_token_ms=round(_median(traces, lambda trace: median(trace.first_s)) * 1e3, 2),
        last_first_token_ms=round(_median(traces, lambda trace: trace.prefilled_s) * 1e3, 2),
        num_runs=len(traces),
        same_tokens=round(same / size, 3),
    )


def _median(traces: Sequence[Trace], of: Callable[[Trace], float]) -> float:
    return median([of(trace) for trace in traces])


def _fraction(cell: Cell, ceiling: float) -> dict[str, float]:
    return {"fraction_of_ceiling": round(cell.decode_tokens_per_s / ceiling, 3)} if cell.batch_size == 1 else {}


def _ratios(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """coe's figures over each rival's in the same cell: above 1, coe is faster."""
    ratios = []
    for (length, size), group in groupby(cells, key=lambda cell: (cell.prompt_tokens, cell.batch_size)):
        ours, *theirs = group
        for rival in theirs:
            ratios.append(
                {
                    "rival": rival.contender,
                    "batch_size": size,
                    "prompt_tokens": length,
                    "decode": round(ours.decode_tokens_per_s / rival.decode_tokens_per_s, 2),
                    "prefill": round(ours.prefill_tokens_per_s / rival.prefill_tokens_per_s, 2),
                }
            )
    return ratios


def _line(cell: Cell) -> str:
    return (
        f"batch {cell.batch_size} prompt {cell.prompt_tokens}: {cell.contender}: decode "
        f"{cell.decode_tokens_per_s:.1f} tokens/s, prefill {cell.prefill_tokens_per_s:.0f} tokens/s"
    )


def _table(cells: Sequence[Cell], ceiling: float) -> str:
    heads = (
        "contender",
        "batch",
        "prompt",
        "decode tok/s",
        "of ceiling",
        "prefill tok/s",
        "first token ms",
        "same text",
    )
    rows = [
        (
            cell.contender,
            str(cell.batch_size),
            str(cell.prompt_tokens),
            f"{cell.decode_tokens_per_s:.1f}",
            f"{cell.decode_tokens_per_s / ceiling:.0%}" if cell.batch_size == 1 else "-",
            f"{cell.prefill_tokens_per_s:.0f}",
            f"{cell.first_token_ms:.0f}",
            f"{cell.same_tokens:.0%}",
        )
        for cell in cells
    ]
    return table(heads, rows)


def _ratio_table(ratios: Sequence[dict[str, Any]]) -> str:
    heads = ("coe over", "batch", "prompt", "decode", "prefill")
    rows = [
        (row["rival"], str(row["batch_size"]), str(row["prompt_tokens"]), f"{row['decode']}x", f"{row['prefill']}x")
        for row in ratios
    ]
    return table(heads, rows)


def _print_profile(profile: StepProfile) -> None:
    print(
        f"batch 1, hand-driven: a step takes {profile.step_ms:.2f} ms, its matrix products alone "
        f"{profile.matmuls_ms:.2f} ms: {profile.outside_matmuls:.0%} of the time is outside them"
    )
    print(table(("operator", "calls", "own ms"), [(name, str(n), f"{ms:.3f}") for name, n, ms in profile.operators]))


def _plot(cells: Sequence[Cell], ceiling: float, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lengths = list(dict.fromkeys(cell.prompt_tokens for cell in cells))
    names = list(dict.fromkeys(cell.contender for cell in cells))
    figure, axes = pyplot.subplots(
        2, len(lengths), figsize=(4.2 * len(lengths), 7), sharex=True, squeeze=False, layout="constrained"
    )
    for column, length in enumerate(lengths):
        decode, prefill = axes[0][column], axes[1][column]
        for name in names:
            own = [cell for cell in cells if cell.contender == name and cell.prompt_tokens == length]
            sizes = [cell.batch_size for cell in own]
            decode.plot(sizes, [cell.decode_tokens_per_s for cell in own], marker="o", label=name)
            prefill.plot(sizes, [cell.prefill_tokens_per_s for cell in own], marker="o", label=name)
        decode.axhline(ceiling, color="grey", linestyle=":", label="memory ceiling of batch 1")
        decode.set_title(f"prompt {length}")
        for axis in (decode, prefill):
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.grid(alpha=0.3)
        prefill.set_xlabel("batch size")
    axes[0][0].set_ylabel("decode tokens/s")
    axes[1][0].set_ylabel("prefill tokens/s")
    axes[0][0].legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
