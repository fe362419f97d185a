"""The CPU backend of Llama's shape: compiled decode steps, and ragged passes for prompts.

Activations, keys and values are float32; matrices float32, bfloat16 (widened exactly) or int8. Sequences that bring one
token are decoded by one compiled program per layer (`decode.py`); the others are a ragged pass. A step that has both
runs them side by side, so a token's bits do not depend on what else is in its step. Needs numba (the extra `cpu`) and
sizes that its tiles divide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from coe.models.cpu.decode import Block, CompiledLayers, CompiledStep, Heads
from coe.models.cpu.layer_math import Bfloat16Math, FloatMath, Int8Math
from coe.models.cpu.row_ops import RowOps
from coe.models.kv import SequenceKv
from coe.models.llama.binding import EmbedWeights, HeadWeights, LayerWeights, LlamaWeights
from coe.models.llama.model import LlamaModel
from coe.models.llama.ragged import LayerMath, RaggedBatch, RaggedPass
from coe.models.llama.shape import LlamaShape
from coe.models.matmul import Weight, embedded
from coe.models.model import ForwardPass, Row, is_decode_row
from coe.weights.unit import Unit

__all__ = ["MATRIX_FORMATS", "CompiledLlama", "DecodePass"]

MATRIX_FORMATS = {"F32": "f32", "BF16": "bf16", "I8": "int8"}  # safetensors' names -> a backend's
_DECODE_ROWS = 32  # of a step that is compiled as a whole; for more rows MKL's blocked matmuls are faster
_CPU = torch.device("cpu")


class CompiledLlama(LlamaModel):
    """Llama's shape by compiled CPU code.

    `matrix_format` is the one of most matrices: f32, bf16 or int8. `rounds_prompts`: prompts are multiplied in
    bfloat16, by a processor that does so natively; decoding computes in float32 all the same.
    """

    def __init__(
        self, shape: LlamaShape, config: Mapping[str, Any], matrix_format: str, *, rounds_prompts: bool = False
    ) -> None:
        assert shape.dtype is torch.float32
        super().__init__(shape, config, _CPU)
        self.backend = f"llama/cpu-compiled/{matrix_format}{'-native' if rounds_prompts else ''}"
        heads = Heads(shape.num_heads, shape.num_kv_heads, shape.head_dim)
        self._layers = CompiledLayers(shape.hidden_size, shape.intermediate_size, heads, shape.norm_eps)
        float_math = Bfloat16Math if rounds_prompts else FloatMath
        self._math: LayerMath = (
            Int8Math(shape, RowOps()) if matrix_format == "int8" else float_math(shape, RowOps(), self._layers)
        )

    def bind(self, unit: Unit, flat: torch.Tensor) -> LlamaWeights:
        weights = super().bind(unit, flat)
        if not isinstance(weights, LayerWeights):
            return weights
        matrices = (weights.qkv, weights.out, weights.gate_up, weights.down)
        norms = (weights.input_norm, weights.mlp_norm)
        return weights._replace(compiled=self._layers.layer(matrices, weights.qkv_bias, norms, weights.head_norms))

    def new_pass(self, rows: Sequence[Row], is_whole: bool) -> ForwardPass:  # noqa: ARG002
        decoding = [row for row in rows if is_decode_row(row)]
        if not decoding or len(decoding) > _DECODE_ROWS:
            return self._ragged(rows)
        if len(decoding) == len(rows):
            return self._decode(rows)
        prompts = [row for row in rows if not is_decode_row(row)]
        return _MixedPass(rows, self._decode(decoding), self._ragged(prompts))

    def matmuls(self, weights: Sequence[Any]) -> None:
        """Compute the matmuls of one decode step and nothing else, for benchmarks that compare the rest with them."""
        embed, *layers, head = weights
        lm_head = embed.weight if head.lm_head is None else head.lm_head
        self._layers.matmuls([_block(w) for w in layers], self._layers.head(lm_head, head.norm))

    def _ragged(self, rows: Sequence[Row]) -> ForwardPass:
        return RaggedPass(RaggedBatch.of(rows, self.shape, self.rotary, self.device), self.shape, self._math)

    def _decode(self, rows: Sequence[Row]) -> ForwardPass:
        kvs = [_sequence(row.kv) for row in rows]
        positions = [kv.length for kv in kvs]
        table = self.rotary.at(torch.tensor(positions), max(positions) + 1)
        places = [kv.place(self.shape.window) for kv in kvs]
        step = self._layers.begin(places, self.shape.num_layers, *table)
        token_ids = torch.tensor([row.token_ids[0] for row in rows])
        return DecodePass(self._layers, self.shape, self._math, token_ids, kvs, step)


class DecodePass:
    """One new token for each of a few sequences; see `model.ForwardPass`."""

    def __init__(
        self,
        layers: CompiledLayers,
        shape: LlamaShape,
        math: LayerMath,
        token_ids: torch.Tensor,
        kvs: Sequence[SequenceKv],
        step: CompiledStep,
    ) -> None:
        self._layers, self._shape, self._math = layers, shape, math
        self._token_ids, self._kvs, self._step = token_ids, kvs, step
        self._embedding: Weight | None = None
        self._hidden = torch.empty(0)  # (rows, hidden), changed in place
        self._logits: torch.Tensor | None = None

    def run_unit(self, index: int, weights: Any) -> None:
        if isinstance(weights, LayerWeights):
            rotates = index - 1 not in self._shape.unrotated
            self._layers.run(self._step, _block(weights), self._hidden, index - 1, rotates=rotates)
        elif isinstance(weights, EmbedWeights):
            self.attach(weights)
            self._hidden = embedded(self._token_ids, weights.weight, torch.float32)
        else:
            assert isinstance(weights, HeadWeights)
            self._logits = self._head(weights)

    def attach(self, first: EmbedWeights) -> None:
        self._embedding = first.weight

    def logits(self) -> torch.Tensor:
        assert self._logits is not None
        for kv in self._kvs:
            kv.advance(1)
        return self._logits

    def _head(self, weights: HeadWeights) -> torch.Tensor:
        lm_head = self._embedding if weights.lm_head is None else weights.lm_head
        assert lm_head is not None
        block = self._layers.head(lm_head, weights.norm)
        if block is None:  # a vocabulary that no tile divides
            return self._math.logits(self._hidden, weights.norm, lm_head)
        return self._layers.logits(self._step, block, self._hidden)


class _MixedPass:
    """A step of sequences that decode and sequences that bring prompts: two passes side by side, unit by unit."""

    def __init__(self, rows: Sequence[Row], decoding: ForwardPass, prompts: ForwardPass) -> None:
        self._decoding, self._prompts = decoding, prompts
        self._num_logits = [row.num_logits for row in rows]
        self._is_decoding = [is_decode_row(row) for row in rows]

    def run_unit(self, index: int, weights: Any) -> None:
        self._decoding.run_unit(index, weights)
        self._prompts.run_unit(index, weights)

    def attach(self, first: EmbedWeights) -> None:
        self._decoding.attach(first)
        self._prompts.attach(first)

    def logits(self) -> torch.Tensor:
        prompts = iter(self._prompts.logits().split([n for n, one in self._pairs() if not one]))
        decoding = iter(self._decoding.logits().split(1))
        return torch.cat([next(decoding if one else prompts) for _, one in self._pairs()])

    def _pairs(self) -> list[tuple[int, bool]]:
        return list(zip(self._num_logits, self._is_decoding, strict=True))


def _block(w: LayerWeights) -> Block:
    assert isinstance(w.compiled, Block)
    return w.compiled


def _sequence(kv: Any) -> SequenceKv:
    assert isinstance(kv, SequenceKv)
    return kv
