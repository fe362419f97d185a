"""`coe bench engine --device cuda`: decoding on a GPU beside what its memory can be read at, steps captured and eager.

The configuration's expert and, with `--synthetic`, a model of a real size with random weights. Every expert runs twice
in the same process, with captured decode steps and without; then batch 1 is taken apart by hand. Not covered: rivals,
several experts, arrivals over time.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from coe.assembly.import_experts import Imported, imported_experts
from coe.assembly.processor import choose_device
from coe.bench.contenders import Coe
from coe.bench.device_step import DeviceProfile, bytes_per_token, device_read_bytes_per_s, profile_device_steps
from coe.bench.report import emit, median, table
from coe.bench.running_text import TEXT, prompt_of
from coe.bench.synthetic import SHAPES, bytes_of, check_disk, is_made, make_synthetic
from coe.config.schema import Config
from coe.errors import ConfigError
from coe.machine.record import this_machine
from coe.models.cuda.capture import CudaRecorder
from coe.models.cuda.graphs import Recorder
from coe.weights.store.unit_store import UnitStore

__all__ = ["run", "run_on"]

SPARE_BYTES = 1 << 30  # of host memory, beside the expert


@dataclass(frozen=True, slots=True)
class DeviceCell:
    """One expert at one batch size, captured or eager; medians over runs."""

    expert: str
    is_captured: bool
    batch_size: int
    prompt_tokens: int
    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_ms: float
    same_tokens: float  # share of sequences whose tokens are those of the captured run
    fraction_of_ceiling: float | None  # at batch 1


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints tables, then one JSON line. Raises ConfigError where there is no GPU."""
    choose_device("cuda")
    return run_on(torch.device("cuda"), CudaRecorder, config, arguments)


def run_on(
    device: torch.device, recorder_of: Callable[[torch.device], Recorder], config: Config, arguments: argparse.Namespace
) -> int:
    """`run` on any device: on a CPU the figures mean nothing, but all of it runs."""
    engine = replace(
        config.engine,
        device="cuda" if device.type == "cuda" else "emulated",
        max_batch_size=max(_batch_sizes(arguments)),
        prefix_reuse=False,
    )
    config = replace(config, engine=engine)
    results = [
        _Bench(device, config, store, expert, arguments).result(recorder_of(device))
        for store, expert in _experts(config, arguments)
    ]
    result = {"benchmark": "engine-device", "experts": results, "hardware": asdict(this_machine())}
    out: Path | None = arguments.out
    emit(result, arguments.json, out / "engine-device.json" if out else None)
    return 0


def _experts(config: Config, arguments: argparse.Namespace) -> Iterator[tuple[UnitStore, Imported]]:
    """What is measured, with the store that has it."""
    name = arguments.expert or config.router.general
    if name not in {each.name for each in config.experts}:
        raise ConfigError(f"--expert {name}: the experts are {', '.join(each.name for each in config.experts)}")
    if unknown := [shape for shape in arguments.synthetic if shape not in SHAPES]:
        raise ConfigError(f"--synthetic {unknown[0]}: the sizes are {', '.join(SHAPES)}")
    alone = replace(config, experts=tuple(each for each in config.experts if each.name == name))
    store, imported, errors = imported_experts(alone)
    if name in errors:
        raise errors[name]
    yield store, imported[0]
    for shape in arguments.synthetic:
        synthetic = UnitStore(config.cache.dir.parent / "synthetic")
        if not is_made(synthetic, shape, 1):
            check_disk(config.cache.dir.parent, bytes_of(shape))
        yield synthetic, make_synthetic(synthetic, shape, 1)[0]


def _batch_sizes(arguments: argparse.Namespace) -> list[int]:
    return arguments.batches or ([1, 2] if arguments.quick else [1, 4, 8, 16, 32])


class _Bench:
    """One expert's cells and profile."""

    def __init__(
        self,
        device: torch.device,
        config: Config,
        store: UnitStore,
        imported: Imported,
        arguments: argparse.Namespace,
    ) -> None:
        self.device, self.store, self.imported, self.arguments = device, store, imported, arguments
        self.expert, self.manifest = imported.spec.name, imported.manifest
        host_bytes = self.manifest.size_bytes + SPARE_BYTES  # taken at start: no more than the expert needs
        self.config = replace(config, cache=replace(config.cache, host_bytes=host_bytes, device_bytes=None))
        self.batch_sizes = _batch_sizes(arguments)
        self.prompt_lengths: list[int] = arguments.prompts or ([32] if arguments.quick else [64, 512, 2048])
        self.num_tokens: int = arguments.tokens or (12 if arguments.quick else 64)

    def result(self, recorder: Recorder) -> dict[str, Any]:
        least_bytes = {"least_bytes": 1} if self.arguments.quick else {}
        speed = device_read_bytes_per_s(self.manifest.size_bytes, self.device, **least_bytes)
        ceiling = speed / bytes_per_token(self.manifest)
        print(
            f"ceiling: {bytes_per_token(self.manifest) / 1e6:.0f} MB of {self.expert}'s weights are read a token, at "
            f"{speed / 1e9:.0f} GB/s, so batch 1 decodes at most {ceiling:.1f} tokens/s"
        )
        cells = list(self.cells(ceiling))
        print(_table(cells))
        profiles = self.profiles(recorder)
        return {
            "expert": self.expert,
            "dtype": self.manifest.dtype,
            "weight_bytes": self.manifest.size_bytes,
            "weight_bytes_per_token": bytes_per_token(self.manifest),
            "read_bytes_per_s": round(speed),
            "ceiling_tokens_per_s": round(ceiling, 1),
            "cells": [asdict(cell) for cell in cells],
            "captured_over_eager": _ratios(cells),
            "reading_alone_ms": round(1e3 / ceiling, 4),
            "profiles_batch_1": [asdict(profile) for profile in profiles],
        }

    def cells(self, ceiling: float) -> Iterator[DeviceCell]:
        """Captured first, then eager: one at a time has the device's memory."""
        texts: dict[tuple[int, int], list[list[int]]] = {}
        for is_captured in (True, False):
            engine = replace(self.config.engine, cuda_graphs=is_captured)
            contender = Coe.of(replace(self.config, engine=engine), self.store, self.imported)
            words = contender.tokens(TEXT)
            for length in self.prompt_lengths:
                for size in self.batch_sizes:
                    cell = self.cell(contender, [prompt_of(words, row, length) for row in range(size)], texts, ceiling)
                    yield replace(cell, is_captured=is_captured)
            contender.close()
            del contender
            _give_memory_back(self.device)

    def cell(
        self, contender: Coe, prompts: list[list[int]], texts: dict[tuple[int, int], list[list[int]]], ceiling: float
    ) -> DeviceCell:
        size, length = len(prompts), len(prompts[0])
        for _ in range(1 if self.arguments.quick else 2):  # every step that will be replayed is captured here
            contender.run(prompts, self.num_tokens)
        traces = [
            contender.run(prompts, self.num_tokens) for _ in range(1 if self.arguments.quick else self.arguments.runs)
        ]
        first = texts.setdefault((size, length), traces[0].token_ids)
        speed = median([trace.decode_tokens_per_s for trace in traces])
        return DeviceCell(
            expert=self.expert,
            is_captured=True,
            batch_size=size,
            prompt_tokens=length,
            decode_tokens_per_s=round(speed, 2),
            prefill_tokens_per_s=round(median([size * length / trace.prefilled_s for trace in traces]), 1),
            first_token_ms=round(median([median(trace.first_s) for trace in traces]) * 1e3, 3),
            same_tokens=round(sum(a == b for a, b in zip(first, traces[0].token_ids, strict=True)) / size, 3),
            fraction_of_ceiling=round(speed / ceiling, 3) if size == 1 else None,
        )

    def profiles(self, recorder: Recorder) -> list[DeviceProfile]:
        """With the shortest and the longest prompt as context."""
        contexts = sorted({min(self.prompt_lengths), max(self.prompt_lengths)})
        num_steps = 3 if self.arguments.quick else 30
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


def _ratios(cells: Sequence[DeviceCell]) -> list[dict[str, Any]]:
    eager = {(cell.batch_size, cell.prompt_tokens): cell for cell in cells if not cell.is_captured}
    return [
        {
            "batch_size": cell.batch_size,
            "prompt_tokens": cell.prompt_tokens,
            "decode": round(
                cell.decode_tokens_per_s / eager[cell.batch_size, cell.prompt_tokens].decode_tokens_per_s, 2
            ),
        }
        for cell in cells
        if cell.is_captured
    ]


def _table(cells: Sequence[DeviceCell]) -> str:
    heads = (
        "expert",
        "steps",
        "batch",
        "prompt",
        "decode tok/s",
        "of ceiling",
        "prefill tok/s",
        "first ms",
        "same text",
    )
    rows = [
        (
            cell.expert,
            "captured" if cell.is_captured else "eager",
            str(cell.batch_size),
            str(cell.prompt_tokens),
            f"{cell.decode_tokens_per_s:.1f}",
            "-" if cell.fraction_of_ceiling is None else f"{cell.fraction_of_ceiling:.0%}",
            f"{cell.prefill_tokens_per_s:.0f}",
            f"{cell.first_token_ms:.1f}",
            f"{cell.same_tokens:.0%}",
        )
        for cell in cells
    ]
    return table(heads, rows)
