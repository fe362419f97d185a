"""Bytes for each tier and for the KV cache: what the configuration names, else a share of the machine's memory.

A CPU has one memory: weights and KV share `host_bytes` or `device_bytes`, the smaller of both. On a GPU and on the
emulated device, `device_bytes` is split between weights, KV and captured steps, and `host_bytes` is for weights alone.
Knows nothing about experts: whether one fits is checked where their sizes are known.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from coe.config.schema import CacheConfig, EngineConfig
from coe.errors import ConfigError
from coe.machine.allowance import available_memory_bytes

__all__ = ["Budgets", "derive_budgets"]

KV_SHARE = 0.2  # of the memory that the engine computes in
GRAPH_SHARE = 0.02  # of a GPU's
MEMORY_SHARE = 0.6  # of the RAM that is available at the start
DEVICE_SHARE = 0.9  # of the GPU memory that is free at the start
PROCESS_BYTES = 192 << 20  # what the process takes after the start beside budgets (docs/decisions/weights.md)

log = logging.getLogger("coe.config.budgets")


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
        total = _checked(min(named)) if named else _share(MEMORY_SHARE)
        weights, kv = _split(total, engine.kv_bytes, 0)
        return Budgets(weights, weights, kv)
    host = _share(MEMORY_SHARE / 2) if cache.host_bytes is None else _checked(cache.host_bytes)
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
    return _share(MEMORY_SHARE / 2)


def _share(part: float) -> int:
    """Return a part of the RAM that budgets may take; raises ConfigError if that is nothing."""
    available = _available_bytes()
    if available is None:
        raise ConfigError("this system does not say how much memory it has; name [cache] host_bytes and device_bytes")
    if available <= 0:
        raise ConfigError(
            f"{available + PROCESS_BYTES:,} bytes of memory are left to this process, of which it needs "
            f"{PROCESS_BYTES:,} beside weights; raise its limit (docker run --memory), or end other programs"
        )
    return int(part * available)


def _checked(named_bytes: int) -> int:
    """Return a budget that the configuration names; says in the log if there is less memory than that."""
    available = _available_bytes()
    if available is not None and named_bytes > available:
        log.warning(
            "[cache] names a budget of %d bytes where %d are available: the system may end this process; lower it",
            named_bytes,
            max(0, available),
        )
    return named_bytes


def _available_bytes() -> int | None:
    """Return the RAM that is left for budgets: available to this process, less what it takes beside them."""
    available = available_memory_bytes()
    return None if available is None else available - PROCESS_BYTES
