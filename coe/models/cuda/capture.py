"""CUDA graphs: how work is captured, replayed and given up, and what it takes.

Everything that needs a GPU to be tried is here; `graphs.py` has the rest. Source: PyTorch's notes on CUDA graphs
(warm-up on a side stream, private memory pools) and CUDA's on stream capture modes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from coe.models.cuda.graphs import Recording

__all__ = ["CudaRecorder"]

WARM_UPS = 2  # libraries allocate and choose kernels in their first calls, which a capture must not see


class CudaRecorder:
    """Captures on one stream of its own into one memory pool, so that graphs share what is free between replays.

    They are replayed one at a time, on the engine's stream, and what one leaves in the pool is read before the next
    runs; results go to memory outside it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._num_recordings = 0
        self.pool_bytes = 0

    def record(self, work: Callable[[], None]) -> Recording:
        self._warm_up(work)
        if not self._num_recordings:  # torch refuses a pool whose last graph is gone
            self._pool, self.pool_bytes = torch.cuda.graph_pool_handle(), 0
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        free_bytes, reserved_bytes = self._free_bytes(), torch.cuda.memory_reserved(self._device)
        graph = self._captured(work)
        graph.replay()  # the first one uploads it, which takes memory too
        torch.cuda.synchronize(self._device)
        grown_bytes = max(0, torch.cuda.memory_reserved(self._device) - reserved_bytes)
        self.pool_bytes += grown_bytes
        self._num_recordings += 1
        return _CudaRecording(self, graph, max(0, free_bytes - self._free_bytes() - grown_bytes))

    def _warm_up(self, work: Callable[[], None]) -> None:
        """On the stream that captures: cuBLAS keeps a workspace per stream, which is no graph's."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                work()
        current.wait_stream(self._stream)

    def _captured(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # thread_local: transfer threads go on copying and waiting for events on streams of their own meanwhile, which
        # the default mode ("global") would count as an error of this capture
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph

    def _free_bytes(self) -> int:
        return torch.cuda.mem_get_info(self._device)[0]

    def forget(self) -> None:
        """A recording is gone; with the last one goes the pool."""
        self._num_recordings -= 1
        if not self._num_recordings:
            torch.cuda.empty_cache()


class _CudaRecording:
    def __init__(self, recorder: CudaRecorder, graph: torch.cuda.CUDAGraph, size_bytes: int) -> None:
        self._recorder, self._graph = recorder, graph
        self.size_bytes = size_bytes

    def replay(self) -> None:
        self._graph.replay()

    def close(self) -> None:
        self._graph.reset()
        self._recorder.forget()
