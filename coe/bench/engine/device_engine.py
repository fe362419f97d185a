"""`coe bench engine --device cuda`: decoding on a GPU beside what its memory can be read at, steps captured and eager.

The configuration's expert and, with `--synthetic`, a model of a real size with random weights. Every expert runs twice
in the same process, with captured decode steps and without; then batch 1 is taken apart by hand. Not covered: rivals,
several experts, arrivals over time.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import torch

from coe.assembly.import_experts import Imported
from coe.assembly.processor import choose_device
from coe.bench.engine.cells import DeviceCell, captured_over_eager, device_table, fraction_of_ceiling
from coe.bench.engine.coe_contender import Coe
from coe.bench.engine.contender import Speeds, same_share
from coe.bench.engine.device_step import DeviceProfile, bytes_per_token, device_read_bytes_per_s, profile_device_steps
from coe.bench.engine.grid import Grid, chosen_expert
from coe.bench.report import Output, record, table
from coe.bench.running_text import TEXT
from coe.bench.synthetic import SHAPES, bytes_of, check_disk, is_made, make_synthetic
from coe.config.schema import Config
from coe.errors import ConfigError
from coe.models.cuda.capture import CudaRecorder
from coe.models.cuda.graphs import Recorder
from coe.weights.store.unit_store import UnitStore

__all__ = ["run", "run_on"]

SPARE_BYTES = 1 << 30  # of host memory, beside the expert
DEFAULT = Grid(batch_sizes=(1, 4, 8, 16, 32), prompt_lengths=(64, 512, 2048), num_tokens=64, num_runs=3)
QUICK = Grid(batch_sizes=(1, 2), prompt_lengths=(32,), num_tokens=12, num_runs=1)


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints tables, then one JSON line. Raises ConfigError where there is no GPU."""
    choose_device("cuda")
    return run_on(torch.device("cuda"), CudaRecorder, config, arguments)


def run_on(
    device: torch.device, recorder_of: Callable[[torch.device], Recorder], config: Config, arguments: argparse.Namespace
) -> int:
    """`run` on any device: on a CPU the figures mean nothing, but all of it runs."""
    if unknown := [shape for shape in arguments.synthetic if shape not in SHAPES]:
        raise ConfigError(f"--synthetic {unknown[0]}: the sizes are {', '.join(SHAPES)}")
    output, grid = Output(arguments.out, arguments.json), Grid.of(arguments, DEFAULT, QUICK)
    engine = replace(
        config.engine,
        device="cuda" if device.type == "cuda" else "emulated",
        max_batch_size=max(grid.batch_sizes),
        prefix_reuse=False,
    )
    config = replace(config, engine=engine)
    results = [
        _Bench(device, config, store, expert, grid, is_quick=arguments.quick).result(recorder_of(device))
        for store, expert in _experts(config, arguments)
    ]
    output.publish("engine-device", record("engine-device", {"experts": results}))
    return 0


def _experts(config: Config, arguments: argparse.Namespace) -> Iterator[tuple[UnitStore, Imported]]:
    """What is measured, with the store that has it."""
    yield chosen_expert(config, arguments.expert)
    for shape in arguments.synthetic:
        synthetic = UnitStore(config.cache.dir.parent / "synthetic")
        if not is_made(synthetic, shape, 1):
            check_disk(config.cache.dir.parent, bytes_of(shape), "make room, or name another [cache] dir")
        yield synthetic, make_synthetic(synthetic, shape, 1)[0]


class _Bench:
    """One expert's cells and profile."""

    def __init__(
        self,
        device: torch.device,
        config: Config,
        store: UnitStore,
        imported: Imported,
        grid: Grid,
        *,
        is_quick: bool,
    ) -> None:
        self.device, self.store, self.imported, self.grid, self.is_quick = device, store, imported, grid, is_quick
        self.expert, self.manifest = imported.spec.name, imported.manifest
        host_bytes = self.manifest.size_bytes + SPARE_BYTES  # taken at start: no more than the expert needs
        self.config = replace(config, cache=replace(config.cache, host_bytes=host_bytes, device_bytes=None))
        self.backend = ""

    def result(self, recorder: Recorder) -> dict[str, Any]:
        least_bytes = {"least_bytes": 1} if self.is_quick else {}
        speed = device_read_bytes_per_s(self.manifest.size_bytes, self.device, **least_bytes)
        ceiling = speed / bytes_per_token(self.manifest)
        print(
            f"ceiling: {bytes_per_token(self.manifest) / 1e6:.0f} MB of {self.expert}'s weights are read a token, at "
            f"{speed / 1e9:.0f} GB/s, so batch 1 decodes at most {ceiling:.1f} tokens/s"
        )
        cells = list(self.cells(ceiling))
        print(device_table(cells))
        profiles = self.profiles(recorder)
        return {
            "expert": self.expert,
            "backend": self.backend,
            "dtype": self.manifest.dtype,
            "weight_bytes": self.manifest.size_bytes,
            "weight_bytes_per_token": bytes_per_token(self.manifest),
            "read_bytes_per_s": round(speed),
            "ceiling_tokens_per_s": round(ceiling, 1),
            "cells": [asdict(cell) for cell in cells],
            "captured_over_eager": captured_over_eager(cells),
            "reading_alone_ms": round(1e3 / ceiling, 4),
            "profiles_batch_1": [asdict(profile) for profile in profiles],
        }

    def cells(self, ceiling: float) -> Iterator[DeviceCell]:
        """Captured first, then eager: one at a time has the device's memory."""
        texts: dict[tuple[int, int], list[list[int]]] = {}
        for is_captured in (True, False):
            engine = replace(self.config.engine, cuda_graphs=is_captured)
            contender = Coe(replace(self.config, engine=engine), self.store, self.imported)
            self.backend = contender.backend
            for prompts in self.grid.batches(contender.tokens(TEXT)):
                yield self.cell(contender, prompts, texts, ceiling, is_captured=is_captured)
            contender.close()
            del contender
            _give_memory_back(self.device)

    def cell(
        self,
        contender: Coe,
        prompts: list[list[int]],
        texts: dict[tuple[int, int], list[list[int]]],
        ceiling: float,
        *,
        is_captured: bool,
    ) -> DeviceCell:
        size, length = len(prompts), len(prompts[0])
        for _ in range(1 if self.is_quick else 2):  # every step that will be replayed is captured here
            contender.run(prompts, self.grid.num_tokens)
        traces = [contender.run(prompts, self.grid.num_tokens) for _ in range(self.grid.num_runs)]
        first = texts.setdefault((size, length), traces[0].token_ids)
        speeds = Speeds.of(traces, size * length)
        return DeviceCell(
            expert=self.expert,
            is_captured=is_captured,
            batch_size=size,
            prompt_tokens=length,
            decode_tokens_per_s=speeds.decode_tokens_per_s,
            prefill_tokens_per_s=speeds.prefill_tokens_per_s,
            first_token_ms=speeds.first_token_ms,
            same_tokens=same_share(first, traces[0].token_ids),
            fraction_of_ceiling=fraction_of_ceiling(speeds.decode_tokens_per_s, size, ceiling),
        )

    def profiles(self, recorder: Recorder) -> list[DeviceProfile]:
        """With the shortest and the longest prompt as context."""
        contexts = sorted({min(self.grid.prompt_lengths), max(self.grid.prompt_lengths)})
        num_steps = 3 if self.is_quick else 30
        profiles = profile_device_steps(self.store, self.manifest, self.device, recorder, contexts, num_steps)
        for profile in profiles:
            print(
                f"batch 1 after {profile.context} tokens, hand-driven: a captured step takes "
                f"{profile.captured_ms:.3f} ms, an eager one {profile.eager_ms:.3f} ms; what the captured one launches:"
            )
            rows = [(name, str(calls), f"{ms:.4f}") for name, calls, ms in profile.kernels]
            print(table(("kernel", "calls", "own ms"), rows))
        return profiles


def _give_memory_back(device: torch.device) -> None:
    """A runtime is full of cycles, and holds the KV of a whole GPU."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
