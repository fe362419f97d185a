"""BERT's layers on a CPU by OpenVINO: the architecture of E5, MiniLM, BGE and GTE in their small sizes.

Owns the graph, and the arithmetic that suits the processor. One text is one inference on one thread, so a vector is
independent of its batch by construction; the texts of a call run side by side, one thread each. Knows nothing about
tokenizers or pooling.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ARITHMETICS", "BertShape", "OpenVinoBert", "arithmetic_here", "is_installed"]

Floats = NDArray[np.float32]
Rows = Callable[[Sequence[int]], Floats]
ARITHMETICS = ("float32", "bfloat16", "int8")
INT8_GROUP = 128  # activations that share a scale; finer is slower, coarser is less exact
MAX_LEVEL = 127


class BertShape(NamedTuple):
    """What the weights do not say: heads, layers, and the epsilon of layer normalisation."""

    heads: int
    layers: int
    epsilon: float


class OpenVinoBert:
    """A BERT encoder.

    `weights` have the names of transformers' BertModel; `word_rows` gives (tokens, hidden) word vectors of ids. int8
    keeps matrices as 8-bit integers with a scale per output and rounds activations to 8 bits for the product; bfloat16
    rounds both for the product. One thread may use it at a time.
    """

    def __init__(self, weights: Mapping[str, Floats], shape: BertShape, word_rows: Rows) -> None:
        import openvino

        self.arithmetic = arithmetic_here()
        self._word_rows = word_rows
        first_type = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions = weights["embeddings.position_embeddings.weight"] + first_type
        graph = Graph(weights, shape, is_int8=self.arithmetic == "int8").model()
        self._compiled = openvino.Core().compile_model(graph, "CPU", properties_for(self.arithmetic))
        self._request = self._compiled.create_infer_request()
        self._queue: Any = None  # made when two texts come at once

    def states(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return (tokens, hidden) float32 for each text's token ids."""
        if len(ids) == 1:
            return [torch.from_numpy(self._request.infer({0: self._inputs(ids[0])})[0].copy())]
        if self._queue is None:
            self._queue = self._made_queue()
        found: list[Tensor] = [torch.empty(0)] * len(ids)
        for place, row in enumerate(ids):
            self._queue.start_async({0: self._inputs(row)}, (found, place))
        self._queue.wait_all()
        return found

    def for_another_thread(self) -> OneAtATime:
        """Return the same network with an inference of its own, which leaves this one a processor."""
        return OneAtATime(self._compiled.create_infer_request(), self._inputs, self.arithmetic)

    def _inputs(self, ids: Sequence[int]) -> Floats:
        """Return the (tokens, hidden) sum of word, position and type vectors."""
        rows: Floats = self._word_rows(ids) + self._positions[: len(ids)]
        return rows

    def _made_queue(self) -> Any:
        import openvino

        queue = openvino.AsyncInferQueue(self._compiled)
        queue.set_callback(keep)
        return queue


class OneAtATime:
    """A network whose texts are inferred one after another. One thread may use it at a time."""

    def __init__(self, request: Any, inputs: Rows, arithmetic: str) -> None:
        self._request, self._inputs, self.arithmetic = request, inputs, arithmetic

    def states(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return (tokens, hidden) float32 for each text's token ids."""
        return [torch.from_numpy(self._request.infer({0: self._inputs(row)})[0].copy()) for row in ids]

    def for_another_thread(self) -> OneAtATime:
        """Return one with an inference of its own."""
        request = self._request.get_compiled_model().create_infer_request()
        return OneAtATime(request, self._inputs, self.arithmetic)


def keep(request: Any, place: tuple[list[Tensor], int]) -> None:
    """Put the states of an inference that has ended where its text stands."""
    found, row = place
    found[row] = torch.from_numpy(request.get_output_tensor(0).data.copy())


class Graph:
    """The layers as OpenVINO's operations, from (tokens, hidden) sums of embeddings to (tokens, hidden) states."""

    def __init__(self, weights: Mapping[str, Floats], shape: BertShape, *, is_int8: bool) -> None:
        from openvino import opset13

        self._ops: Any = opset13
        self._weights = weights
        self._shape = shape
        self._is_int8 = is_int8

    def model(self) -> Any:
        """Return the graph, whose number of tokens is open."""
        import openvino

        hidden = self._weights["embeddings.LayerNorm.weight"].shape[0]
        inputs = self._ops.parameter([-1, hidden], np.float32)
        states = self._norm(inputs, "embeddings.LayerNorm")
        for number in range(self._shape.layers):
            states = self._layer(states, f"encoder.layer.{number}.")
        return openvino.Model([states], [inputs], "bert")

    def _layer(self, x: Any, prefix: str) -> Any:
        ops = self._ops
        attended = self._attention(x, prefix)
        mixed = self._linear(attended, f"{prefix}attention.output.dense")
        x = self._norm(ops.add(x, mixed), f"{prefix}attention.output.LayerNorm")
        inner = ops.gelu(self._linear(x, f"{prefix}intermediate.dense"), "erf")
        return self._norm(ops.add(x, self._linear(inner, f"{prefix}output.dense")), f"{prefix}output.LayerNorm")

    def _attention(self, x: Any, prefix: str) -> Any:
        """Return (tokens, hidden): every token attends to all."""
        ops = self._ops
        qkv = self._linear(x, *(f"{prefix}attention.self.{name}" for name in ("query", "key", "value")))
        hidden = self._weights[f"{prefix}attention.output.dense.weight"].shape[0]
        heads = self._ops.reshape(qkv, integers(ops, 1, -1, 3, self._shape.heads, hidden // self._shape.heads), False)
        apart = ops.transpose(heads, integers(ops, 2, 0, 3, 1, 4))  # (3, 1, heads, tokens, dim)
        parts = ops.split(apart, ops.constant(np.array(0, np.int64)), 3).outputs()
        query, key, value = (ops.squeeze(part, integers(ops, 0)) for part in parts)
        mixed = ops.scaled_dot_product_attention(query, key, value)
        return ops.reshape(ops.transpose(mixed, integers(ops, 0, 2, 1, 3)), integers(ops, -1, hidden), False)

    def _linear(self, x: Any, *names: str) -> Any:
        """Return x @ weight.T + bias; the matrices of several names become one."""
        weight = np.concatenate([self._weights[f"{name}.weight"] for name in names])
        bias = np.concatenate([self._weights[f"{name}.bias"] for name in names])
        return self._ops.add(self._ops.matmul(x, self._matrix(weight), False, True), self._ops.constant(bias))

    def _matrix(self, weight: Floats) -> Any:
        ops = self._ops
        if not self._is_int8:
            return ops.constant(weight)
        scales = np.maximum(np.abs(weight).max(axis=1, keepdims=True) / MAX_LEVEL, np.float32(1e-12))  # (out, 1)
        levels = np.rint(weight / scales).astype(np.int8)
        return ops.multiply(ops.convert(ops.constant(levels), np.float32), ops.constant(scales))

    def _norm(self, x: Any, name: str) -> Any:
        ops = self._ops
        scaled = ops.mvn(x, integers(ops, -1), True, self._shape.epsilon, "inside_sqrt")
        weight, bias = (ops.constant(self._weights[f"{name}.{end}"]) for end in ("weight", "bias"))
        return ops.add(ops.multiply(scaled, weight), bias)


def integers(ops: Any, *values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def properties_for(arithmetic: str) -> dict[str, Any]:
    """Return OpenVINO's settings: as many inferences at once as there are processors, one thread each, none pinned.

    At least two: routing must not wait for a long text whose embedding a client asked for.
    """
    num_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_threads = max(2, num_processors)
    return {
        "INFERENCE_NUM_THREADS": num_threads,
        "NUM_STREAMS": num_threads,
        "ENABLE_CPU_PINNING": False,  # pinned threads of two processes would share one core
        "INFERENCE_PRECISION_HINT": "bf16" if arithmetic == "bfloat16" else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if arithmetic == "int8" else 0,
    }


def arithmetic_here() -> str:
    """Return the fastest arithmetic of this processor: bfloat16 with AMX, int8 with VNNI, else float32."""
    if torch.cpu._is_amx_tile_supported():
        return "bfloat16"
    return "int8" if torch.cpu._is_vnni_supported() else "float32"


def is_installed() -> bool:
    """Return whether OpenVINO can be imported."""
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True
