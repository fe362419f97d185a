"""`coe bench engine` on the CPU: coe beside what people run today and the memory's ceiling, on one expert.

Every contender gets the same token ids at the same precision in the same run. Batch 1 is also taken apart: what of a
step is matrix products and what is around them. Not covered: several experts, arrivals over time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from coe.assembly.import_experts import Imported
from coe.bench.engine.cells import Cell, fraction_of_ceiling, ratio_table, ratios_to_coe, table_of
from coe.bench.engine.coe_contender import Coe
from coe.bench.engine.contender import Contender, Speeds, Trace, same_share
from coe.bench.engine.grid import Grid, chosen_expert
from coe.bench.engine.llama_cpp import KINDS, LlamaCpp, gguf_at
from coe.bench.engine.picture import paint
from coe.bench.engine.transformers_contenders import TransformersBatching, TransformersGenerate, open_with_transformers
from coe.bench.report import Output, record, table
from coe.bench.running_text import TEXT, prompt_of
from coe.bench.step_profile import HandDriven, StepProfile, profile_step, read_bytes_per_s
from coe.config.schema import Config
from coe.errors import WeightsError
from coe.weights.store.unit_store import UnitStore

__all__ = ["run"]

ENOUGH_S = 20.0  # a cell that takes longer is run once
DEFAULT = Grid(batch_sizes=(1, 4, 8, 16, 32), prompt_lengths=(64, 512, 2048), num_tokens=32, num_runs=3)
QUICK = Grid(batch_sizes=(1, 4), prompt_lengths=(32,), num_tokens=4, num_runs=1)


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints tables, then one JSON line. Returns the exit code."""
    output, grid = Output(arguments.out, arguments.json), Grid.of(arguments, DEFAULT, QUICK)
    config = replace(config, engine=replace(config.engine, device="cpu"))
    store, expert = chosen_expert(config, arguments.expert)
    manifest = expert.manifest
    num_threads = config.engine.num_threads or os.cpu_count() or 1
    torch.set_num_threads(num_threads)
    ceiling = _ceiling(manifest.size_bytes, num_threads)
    profile = _profile(store, expert, num_steps=3 if arguments.quick else 30)
    coe = Coe(_unlimited(config, max(grid.batch_sizes)), store, expert)
    contenders: list[Contender] = [coe, *_rivals(expert, arguments, num_threads)]
    cells = []
    for cell in _cells(contenders, grid, coe.tokens(TEXT), warms=not arguments.quick):
        print(cell, flush=True)
        cells.append(cell)
    same_with_seed = _same_with_seed(coe, grid)
    for contender in contenders:
        contender.close()
    print(table_of(cells, ceiling))
    ratios = ratios_to_coe(cells)
    print(ratio_table(ratios))
    figures = {
        "expert": expert.spec.name,
        "backend": coe.backend,
        "dtype": manifest.dtype,
        "weight_bytes": manifest.size_bytes,
        "ceiling_tokens_per_s": round(ceiling, 1),
        "num_new_tokens": grid.num_tokens,
        "cells": [_row(cell, ceiling) for cell in cells],
        "ratios_to_coe": ratios,
        "same_with_seed": same_with_seed,
        "profile_batch_1": profile
        and {**asdict(profile), "fraction_outside_matmuls": round(profile.outside_matmuls, 3)},
    }
    output.publish(f"engine-{manifest.dtype}", record("engine", figures), partial(paint, cells, ceiling))
    return 0


def _unlimited(config: Config, max_batch_size: int) -> Config:
    """Budgets that no cell reaches: they are limits, nothing is held ahead."""
    return replace(
        config,
        engine=replace(config.engine, max_batch_size=max_batch_size, kv_bytes=32 << 30, prefix_reuse=False),
        cache=replace(config.cache, host_bytes=64 << 30, device_bytes=None),
    )


def _ceiling(size_bytes: int, num_threads: int) -> float:
    """Print and return how many tokens a second batch 1 can decode at most."""
    speed = read_bytes_per_s(size_bytes)
    print(
        f"ceiling: {size_bytes / 1e6:.0f} MB of weights are read at {speed / 1e9:.1f} GB/s by {num_threads} threads, "
        f"so batch 1 decodes at most {speed / size_bytes:.1f} tokens/s"
    )
    return speed / size_bytes


def _profile(store: UnitStore, expert: Imported, num_steps: int) -> StepProfile | None:
    """Print and return where a step's time goes; None for an expert that cannot be taken apart."""
    try:
        profile = profile_step(HandDriven(store, expert.manifest), num_steps)
    except WeightsError as error:
        print(f"no profile: {error}")
        return None
    print(
        f"batch 1, hand-driven: a step takes {profile.step_ms:.2f} ms, its matrix products alone "
        f"{profile.matmuls_ms:.2f} ms: {profile.outside_matmuls:.0%} of the time is outside them"
    )
    print(table(("operator", "calls", "own ms"), [(name, str(n), f"{ms:.3f}") for name, n, ms in profile.operators]))
    return profile


def _rivals(expert: Imported, arguments: argparse.Namespace, num_threads: int) -> Iterator[Contender]:
    dtype = expert.manifest.dtype
    theirs = "float32" if dtype == "int8" else dtype
    if expert.spec.adapter is None and not arguments.no_transformers:
        model = open_with_transformers(expert.spec.folder, theirs)
        yield TransformersGenerate(model, theirs)
        yield TransformersBatching(model, theirs)
    for file in arguments.gguf:
        if find_spec("llama_cpp") is None:
            print(f"left out: llama.cpp on {file.name} (llama-cpp-python is not installed)")
        else:
            yield LlamaCpp(gguf_at(file, KINDS[dtype]), num_threads)


def _cells(contenders: list[Contender], grid: Grid, words: list[int], *, warms: bool) -> Iterator[Cell]:
    """Yield what every contender does, in turns cell by cell, so that all see the same machine.

    The first contender's tokens are those that the others' are compared with.
    """
    for prompts in grid.batches(words):
        size, length = len(prompts), len(prompts[0])
        reference: list[list[int]] | None = None
        for contender in contenders:
            if warms:
                contender.run(prompts[:1], 2)  # allocators and thread pools warm
            traces = _runs(contender, prompts, grid)
            reference = reference or traces[0].token_ids
            same = same_share(reference, traces[0].token_ids)
            speeds = asdict(Speeds.of(traces, size * length))
            yield Cell(contender.name, size, length, **speeds, num_runs=len(traces), same_tokens=same)


def _runs(contender: Contender, prompts: list[list[int]], grid: Grid) -> list[Trace]:
    traces: list[Trace] = []
    started_s = time.monotonic()
    while len(traces) < grid.num_runs and (not traces or time.monotonic() - started_s < ENOUGH_S):
        traces.append(contender.run(prompts, grid.num_tokens))
    return traces


def _same_with_seed(coe: Coe, grid: Grid) -> float:
    """Return the share of sampled texts that are the same alone and beside all the others."""
    words, count = coe.tokens(TEXT), max(grid.batch_sizes)
    prompts = [prompt_of(words, row, min(grid.prompt_lengths)) for row in range(count)]
    together = coe.run(prompts, grid.num_tokens, range(count)).token_ids
    alone = [coe.run([prompt], grid.num_tokens, [seed]).token_ids[0] for seed, prompt in enumerate(prompts)]
    same = same_share(together, alone)
    print(
        f"seeded at temperature 1: {round(same * count)} of {count} texts are the same alone and in a batch of {count}"
    )
    return same


def _row(cell: Cell, ceiling: float) -> dict[str, Any]:
    fraction = fraction_of_ceiling(cell.decode_tokens_per_s, cell.batch_size, ceiling)
    return asdict(cell) if fraction is None else {**asdict(cell), "fraction_of_ceiling": fraction}
