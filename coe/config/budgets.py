"""Bytes for each tier and for the KV cache: what the configuration names, else a share of the machine's memory.

A CPU has one memory: weights and KV share `host_bytes` or `device_bytes`, the smaller of both. On a GPU and on the
emulated device, `device_bytes` is split between weights, KV and captured steps, and `host_bytes` is for weights alone.
Knows nothing about experts: whether one fits is checked where their sizes are known.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from coe.config.schema import CacheConfig, EngineConfig
from coe.errors import ConfigError

__all__ = ["Budgets", "derive_budgets"]

KV_SHARE = 0.2  # of the memory that the engine computes in
GRAPH_SHARE = 0.02  # of a GPU's
MEMORY_SHARE = 0.6  # of the RAM that is available at the start
DEVICE_SHARE = 0.9  # of the GPU memory that is free at the start


@dataclass(frozen=True, slots=True)
class Budgets:
    """Bytes. `host_bytes` and `device_bytes` are for weights alone; on a CPU both are the same memory."""

    host_bytes: int
    device_bytes: int
    kv_bytes: int
    graph_bytes: int = 0  # for captured decode steps; only a GPU has them

    def __str__(self) -> str:
        sizes = {"weights on the device": self.device_bytes, "host": self.host_bytes, "KV cache": self.kv_bytes}
        sizes |= {"captured steps": self.graph_bytes} if self.graph_bytes else {}
        return ", ".join(f"{name} {size / 2**30:.2f} GiB" for name, size in sizes.items())


def derive_budgets(cache: CacheConfig, engine: EngineConfig, device: str) -> Budgets:
    """Return the budgets of `device` (cpu, emulated or cuda); raises ConfigError if they leave nothing for weights."""
    if device == "cpu":
        named = [size for size in (cache.host_bytes, cache.device_bytes) if size is not None]
        total = min(named, default=int(MEMORY_SHARE * _available_bytes()))
        weights, kv = _split(total, engine.kv_bytes, 0)
        return Budgets(weights, weights, kv)
    host = cache.host_bytes if cache.host_bytes is not None else int(MEMORY_SHARE / 2 * _available_bytes())
    total = cache.device_bytes or _device_bytes(device)
    graphs = _graph_bytes(total, engine) if device == "cuda" else 0
    weights, kv = _split(total, engine.kv_bytes, graphs)
    return Budgets(host, weights, kv, graphs)


def _split(total: int, kv_bytes: int | None, graph_bytes: int) -> tuple[int, int]:
    """Return the bytes for weights and the bytes for KV."""
    kv = int(KV_SHARE * total) if kv_bytes is None else kv_bytes
    if kv + graph_bytes >= total:
        also = f" and graph_bytes = {graph_bytes:,} leave" if graph_bytes else " leaves"
        raise ConfigError(
            f"[engine] kv_bytes = {kv:,}{also} nothing for weights of {total:,} bytes; lower it or raise [cache]"
        )
    return total - kv - graph_bytes, kv


def _graph_bytes(total: int, engine: EngineConfig) -> int:
    if not engine.cuda_graphs:
        return 0
    return int(GRAPH_SHARE * total) if engine.graph_bytes is None else engine.graph_bytes


def _device_bytes(device: str) -> int:
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(DEVICE_SHARE * free)
    return int(MEMORY_SHARE / 2 * _available_bytes())


def _available_bytes() -> int:
    """Return the RAM that can be taken without swapping, or the container's limit if that is lower (cgroup v2)."""
    with open("/proc/meminfo") as file:
        facts = dict(line.split(":", 1) for line in file)
    available = int(facts["MemAvailable"].split()[0]) * 1024
    limit = "/sys/fs/cgroup/memory.max"
    if os.path.exists(limit):
        with open(limit) as file:
            text = file.read().strip()
        available = min(available, int(text)) if text != "max" else available
    return available
