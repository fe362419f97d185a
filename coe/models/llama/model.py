"""The fast path: one functional forward for every decoder that shares Llama's shape.

Covered: Llama 2/3, SmolLM2/3, Mistral, Qwen2/2.5, Qwen3 (qkv bias, q/k norm, grouped-query attention, tied embeddings,
any rotary scaling that is a constant table, layers without rotary, Mistral's sliding window). Not covered, and left to
`modules.py`: windows in some layers only, biases elsewhere, partial rotary, mixtures of experts, other activations than
SiLU. Fused projections are views: the unit store lays
q, k, v and gate, up adjacent.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from coe.models.cpu.decode import Block, CompiledLayers, CompiledStep, Heads
from coe.models.cpu.fused import Fused
from coe.models.cuda.paged_kv import PagedKv, PagedStore, PagedWindow
from coe.models.kv import ContiguousStore, KvShape, SequenceKv, Window
from coe.models.matmul import Int8, Weight, embedded, num_inputs, product
from coe.models.model import Row
from coe.weights.unit import DTYPE_SIZES, SCALE, Manifest, TensorSpec, Unit

__all__ = ["LlamaModel", "LlamaShape", "widens_bfloat16"]

_FUSED_ROWS = 16  # more are worth all cores, and the transposed products of a prompt no copy
_COMPILED_ROWS = 32  # of a step that is compiled as a whole; for more MKL's blocked products are faster
_TILED_ROWS = 128  # times a bfloat16 matrix read as it is; for more it is widened once for MKL
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I8": torch.int8}
_FAMILY = {"llama", "mistral", "qwen2", "qwen3", "smollm3"}
_PREFIX = re.compile(r"^model\.(layers\.\d+\.)?")
_TENSORS = {"embed_tokens.weight", "norm.weight", "lm_head.weight"}
_TENSORS |= {"input_layernorm.weight", "post_attention_layernorm.weight"}
_TENSORS |= {f"self_attn.{name}.{kind}" for name in ("q_proj", "k_proj", "v_proj") for kind in ("weight", "bias")}
_TENSORS |= {f"self_attn.{name}.weight" for name in ("o_proj", "q_norm", "k_norm")}
_TENSORS |= {f"mlp.{name}.weight" for name in ("gate_proj", "up_proj", "down_proj")}


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The numbers of a Llama-shaped decoder; `of` reads them from a manifest."""

    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_eps: float
    max_positions: int
    dtype: torch.dtype
    window: int | None = None  # tokens that a token sees, itself included; None: all before it
    unrotated: frozenset[int] = frozenset()  # layers without rotary embedding

    @classmethod
    def of(cls, manifest: Manifest) -> LlamaShape | None:
        """None if the expert does not share Llama's shape."""
        config = manifest.config
        if config.get("model_type") not in _FAMILY or not _is_covered(config) or not _reads_all(manifest):
            return None
        num_heads = config["num_attention_heads"]
        return cls(
            num_layers=config["num_hidden_layers"],
            hidden_size=config["hidden_size"],
            num_heads=num_heads,
            num_kv_heads=config.get("num_key_value_heads") or num_heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // num_heads,
            norm_eps=config["rms_norm_eps"],
            max_positions=config["max_position_embeddings"],
            window=_window(config) if config["model_type"] == "mistral" else None,
            unrotated=_unrotated(config),
            dtype=next(_DTYPES[spec.dtype] for spec in manifest.units[-1].tensors if spec.name.endswith("norm.weight")),
        )


def widens_bfloat16(config_file: Path) -> bool:
    """Whether compiled steps of the architecture described there would read bfloat16 matrices as they are."""
    if not Fused.is_available() or not config_file.is_file():
        return False
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # the import says what is wrong with it
    needed = {"num_attention_heads", "hidden_size", "intermediate_size", "max_position_embeddings"}
    if not isinstance(config, dict) or not needed <= config.keys():
        return False
    if config.get("model_type") not in _FAMILY or not _is_covered(config):
        return False
    return CompiledLayers.fits(*_sizes(config))


def _sizes(config: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
    """Head dimension; inputs of the projections qkv, out and down."""
    num_heads, hidden_size = config["num_attention_heads"], config["hidden_size"]
    dim = config.get("head_dim") or hidden_size // num_heads
    return dim, (hidden_size, num_heads * dim, config["intermediate_size"])


def _reads_all(manifest: Manifest) -> bool:
    """Whether the pass below uses every tensor there is; ignoring one (a bias of o_proj) would be a wrong answer."""
    names = (spec.name for unit in manifest.units for spec in unit.tensors)
    return all(_PREFIX.sub("", name.removesuffix(SCALE)) in _TENSORS for name in names)


def _is_covered(config: Mapping[str, Any]) -> bool:
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    return (
        config.get("hidden_act", "silu") == "silu"
        and (config["model_type"] == "mistral" or _window(config) is None)
        and kind in {"default", "linear", "llama3", "yarn"}
        and scaling.get("partial_rotary_factor", 1.0) == 1.0
    )


def _window(config: Mapping[str, Any]) -> int | None:
    """The sliding window, if there is one that a whole context does not fit into."""
    size: int | None = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    return size if size is not None and size < config["max_position_embeddings"] else None


def _unrotated(config: Mapping[str, Any]) -> frozenset[int]:
    """SmolLM3 leaves rotary out of every fourth layer, or of those that its configuration lists with a 0."""
    if config["model_type"] != "smollm3":
        return frozenset()
    num_layers, interval = config["num_hidden_layers"], config.get("no_rope_layer_interval", 4)
    rotated = config.get("no_rope_layers") or [int((index + 1) % interval != 0) for index in range(num_layers)]
    return frozenset(index for index, is_rotated in enumerate(rotated) if not is_rotated)


class _Embed(NamedTuple):
    weight: Weight  # (vocab, hidden)


class _Layer(NamedTuple):
    input_norm: torch.Tensor
    qkv: Weight  # ((heads + 2 kv heads) * head dim, hidden)
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    out: Weight
    mlp_norm: torch.Tensor
    gate_up: Weight  # (2 * intermediate, hidden)
    down: Weight
    block: Block | None  # the same for compiled steps


class _Head(NamedTuple):
    norm: torch.Tensor
    lm_head: Weight | None  # None: tied to the embedding


class _Span(NamedTuple):
    """A row's slice of the ragged batch."""

    start: int
    end: int
    kv: SequenceKv | PagedKv
    window: Window | PagedWindow
    num_logits: int


class _Single(NamedTuple):
    """Tokens of a ragged step whose attention is the compiled one: a token's bits must not depend on the others."""

    starts: frozenset[int]  # their places in the batch
    rows: torch.Tensor  # the same, in order
    step: CompiledStep


@dataclass(slots=True)
class _State:
    token_ids: torch.Tensor  # (tokens,)
    cos: torch.Tensor  # (tokens, 1, head dim)
    sin: torch.Tensor
    spans: list[_Span]
    masks: list[torch.Tensor | None]  # per span, (new, length) or None
    single: _Single | None  # spans with one new token
    hidden: torch.Tensor | None = None  # (tokens, hidden)
    embedding: Weight | None = None
    logits: torch.Tensor | None = None  # (sum of num_logits, vocab)


@dataclass(slots=True)
class _Decoding:
    """The state of a step that is compiled: one new token for each of a few sequences."""

    token_ids: torch.Tensor  # (rows,)
    kvs: list[SequenceKv]
    step: CompiledStep
    hidden: torch.Tensor | None = None  # (rows, hidden), changed in place
    embedding: Weight | None = None
    logits: torch.Tensor | None = None  # (rows, vocab)


class LlamaModel:
    """Runs any expert of one Llama shape; holds no weights, only the rotary table. `kv` holds its sequences' KV."""

    runs_by_unit = True
    copies_kv = True

    def __init__(self, shape: LlamaShape, config: Mapping[str, Any], device: torch.device) -> None:
        self.shape = shape
        self.device = device
        self.kv_shape = KvShape(shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.dtype, device)
        self.kv: ContiguousStore | PagedStore = ContiguousStore(self.kv_shape)
        inv_freq, self._rope_scale = _rotary(config)
        self._inv_freq = inv_freq.to(device)
        self._cos = self._sin = torch.empty(0, 1, shape.head_dim)
        is_plain = device.type == "cpu" and shape.dtype is torch.float32
        self._fused = Fused.load() if is_plain else None
        heads, (dim, sizes) = Heads(shape.num_heads, shape.num_kv_heads, shape.head_dim), _sizes(config)
        is_compiled = self._fused is not None and CompiledLayers.fits(dim, sizes)
        self._compiled = CompiledLayers(shape.hidden_size, sizes[2], heads, shape.norm_eps) if is_compiled else None

    # -- the Model seam (step.py)

    def bind(self, unit: Unit, flat: torch.Tensor) -> _Embed | _Layer | _Head:
        views = _Views(unit, flat)
        if unit.name == "embed":
            return _Embed(views.weight("embed_tokens.weight"))
        if unit.name == "head":
            return _Head(views.one("norm.weight"), views.maybe_weight("lm_head.weight"))
        layer = _Layer(
            input_norm=views.one("input_layernorm.weight"),
            qkv=views.weight("q_proj.weight", "k_proj.weight", "v_proj.weight"),
            qkv_bias=views.maybe_fused("q_proj.bias", "k_proj.bias", "v_proj.bias"),
            q_norm=views.maybe("self_attn.q_norm.weight"),
            k_norm=views.maybe("self_attn.k_norm.weight"),
            out=views.weight("o_proj.weight"),
            mlp_norm=views.one("post_attention_layernorm.weight"),
            gate_up=views.weight("gate_proj.weight", "up_proj.weight"),
            down=views.weight("down_proj.weight"),
            block=None,
        )
        return layer._replace(block=self._block(layer))

    def _block(self, w: _Layer) -> Block | None:
        if self._compiled is None:
            return None
        return self._compiled.layer(
            (w.qkv, w.out, w.gate_up, w.down),
            w.qkv_bias,
            (w.input_norm, w.mlp_norm),
            None if w.q_norm is None or w.k_norm is None else (w.q_norm, w.k_norm),
        )

    def kv_bytes(self, num_tokens: int) -> int:
        return self.kv.size_bytes(num_tokens)

    def new_kv(self, num_tokens: int) -> SequenceKv | PagedKv:
        return self.kv.new(num_tokens)

    def copy_kv(self, kv: Any, num_tokens: int, room: int) -> SequenceKv | PagedKv:
        return self.kv.copy(kv, num_tokens, room)

    def begin(self, rows: Sequence[Row]) -> _State | _Decoding:
        kvs = [row.kv for row in rows if isinstance(row.kv, SequenceKv)]
        if self._compiled is not None and len(kvs) == len(rows) <= _COMPILED_ROWS and all(map(_is_next, rows)):
            return self._begin_decoding(self._compiled, rows, kvs)
        return self._begin_ragged(rows)

    def _begin_decoding(self, compiled: CompiledLayers, rows: Sequence[Row], kvs: list[SequenceKv]) -> _Decoding:
        positions = [kv.length for kv in kvs]
        self._grow_rotary(max(positions) + 1)
        at = torch.tensor(positions)
        places = [kv.place(self.shape.window) for kv in kvs]
        step = compiled.begin(places, self.shape.num_layers, self._cos[at], self._sin[at])
        return _Decoding(torch.tensor([row.token_ids[0] for row in rows]), kvs, step)

    def _begin_ragged(self, rows: Sequence[Row]) -> _State:
        spans, start = [], 0
        positions: list[int] = []
        for row in rows:
            assert isinstance(row.kv, SequenceKv | PagedKv)
            end = start + len(row.token_ids)
            window = row.kv.window(end - start, self.shape.window)
            spans.append(_Span(start, end, row.kv, window, row.num_logits))
            positions.extend(range(row.kv.length, row.kv.length + end - start))
            start = end
        self._grow_rotary(max(positions) + 1)
        at = torch.tensor(positions, device=self.device)
        flat = torch.tensor([token for row in rows for token in row.token_ids], device=self.device)
        most = self.shape.window
        masks = [_chunk_mask(span.kv.length, span.end - span.start, most, self.device) for span in spans]
        return _State(flat, self._cos[at], self._sin[at], spans, masks, self._single(spans, at))

    def _single(self, spans: list[_Span], positions: torch.Tensor) -> _Single | None:
        mine = [span for span in spans if span.end - span.start == 1 and isinstance(span.kv, SequenceKv)]
        if self._compiled is None or not mine:
            return None
        starts = [span.start for span in mine]
        places = [span.kv.place(self.shape.window) for span in mine if isinstance(span.kv, SequenceKv)]
        at = positions[starts]
        step = self._compiled.begin(places, self.shape.num_layers, self._cos[at], self._sin[at])
        return _Single(frozenset(starts), torch.tensor(starts), step)

    def run_unit(self, index: int, weights: Any, state: _State | _Decoding) -> None:
        if index == 0:
            state.embedding = weights.weight
            rows = embedded(state.token_ids, weights.weight, self.shape.dtype)  # where the weight is
            state.hidden = rows.to(self.device)
        elif isinstance(state, _Decoding):
            self._run_compiled(index - 1, weights, state)
        elif index <= self.shape.num_layers:
            state.hidden = self._layer(index - 1, weights, state)
        else:
            state.logits = self._head(weights, state)

    def _run_compiled(self, layer: int, weights: _Layer | _Head, state: _Decoding) -> None:
        compiled, hidden = self._compiled, state.hidden
        assert compiled is not None
        assert hidden is not None
        if isinstance(weights, _Layer):
            assert weights.block is not None
            compiled.run(state.step, weights.block, hidden, layer, rotates=layer not in self.shape.unrotated)
        else:
            weight = state.embedding if weights.lm_head is None else weights.lm_head
            assert weight is not None
            block = compiled.head(weight, weights.norm)
            state.logits = (
                self._headed(hidden, weights.norm, weight)
                if block is None
                else compiled.logits(state.step, block, hidden)
            )

    def attach(self, first: _Embed, state: _State | _Decoding) -> None:
        state.embedding = first.weight

    def logits(self, state: _State | _Decoding) -> torch.Tensor:
        assert state.logits is not None
        if isinstance(state, _Decoding):
            for kv in state.kvs:
                kv.advance(1)
            return state.logits
        for span in state.spans:
            span.kv.advance(span.end - span.start)
        return state.logits.float()

    def products(self, weights: Sequence[Any]) -> None:
        """Do the matrix products of one decode step and nothing else: what the rest of a step is measured against."""
        embed, *layers, head = weights
        last = embed.weight if head.lm_head is None else head.lm_head
        if self._compiled is not None:
            self._compiled.products([w.block for w in layers], self._compiled.head(last, head.norm))
            return
        for w in layers:
            for weight in (w.qkv, w.out, w.gate_up, w.down):
                self._multiply(weight)
        self._multiply(last)

    def _multiply(self, weight: Weight) -> None:
        self._product(torch.zeros(1, num_inputs(weight), dtype=self.shape.dtype, device=self.device), weight)

    # -- the arithmetic

    def _layer(self, layer: int, w: _Layer, state: _State) -> torch.Tensor:
        assert state.hidden is not None
        if isinstance(w.qkv, Int8):
            return self._int8_layer(layer, w, state.hidden, state)
        qkv = self._product(self._norm(state.hidden, w.input_norm), w.qkv, w.qkv_bias).contiguous()
        hidden = state.hidden + self._product(self._attention(layer, w, qkv, state), w.out)
        gate_up = self._product(self._norm(hidden, w.mlp_norm), w.gate_up)
        return hidden + self._product(self._gated(gate_up), w.down)

    def _product(self, x: torch.Tensor, weight: Weight, bias: torch.Tensor | None = None) -> torch.Tensor:
        weight = _full(weight)
        is_tiled = weight.dtype is not x.dtype and len(x) <= _TILED_ROWS
        if is_tiled and self._compiled is not None and self._compiled.takes(weight):
            return self._compiled.product(x, weight, bias)
        return product(x, weight, bias)

    def _int8_layer(self, layer: int, w: _Layer, hidden: torch.Tensor, state: _State) -> torch.Tensor:
        fused, eps = self._fused, self.shape.norm_eps
        assert fused is not None, "int8 without numba is refused at start"
        qkv = fused.product(fused.quantised_norm(hidden, w.input_norm, eps), _int8(w.qkv), w.qkv_bias)
        mixed = fused.quantised(self._attention(layer, w, qkv, state))
        hidden, rows = fused.add_product_and_norm(hidden, mixed, _int8(w.out), w.mlp_norm, eps)
        return fused.add_two_digits(hidden, fused.quantised_gate(rows, _int8(w.gate_up)), _int8(w.down))

    def _attention(self, layer: int, w: _Layer, qkv: torch.Tensor, state: _State) -> torch.Tensor:
        """qkv (tokens, (heads + 2 kv heads) * dim), contiguous, changed in place -> (tokens, heads * dim)."""
        shape = self.shape
        out = torch.empty(len(qkv), shape.num_heads * shape.head_dim, dtype=qkv.dtype, device=qkv.device)
        if (single := state.single) is not None and self._compiled is not None and w.block is not None:
            rotates, own = layer not in shape.unrotated, qkv[single.rows]
            out[single.rows] = self._compiled.attention(single.step, w.block, own, layer, rotates=rotates)
            if len(single.starts) == len(state.spans):
                return out
        qkv = qkv.view(len(qkv), -1, shape.head_dim)
        norms = None if w.q_norm is None or w.k_norm is None else (w.q_norm, w.k_norm)
        table = None if layer in shape.unrotated else (state.cos, state.sin)
        if self._fused is not None:
            self._fused.rotate_(qkv, shape.num_heads, shape.num_kv_heads, norms, shape.norm_eps, table)
        else:
            self._rotate_(qkv, norms, table)
        for span, mask in zip(state.spans, state.masks, strict=True):
            if single is None or span.start not in single.starts:
                part = slice(span.start, span.end)
                out[part] = _attended(qkv[part], shape.num_heads, span.window, layer, mask)
        return out

    def _rotate_(
        self,
        qkv: torch.Tensor,
        norms: tuple[torch.Tensor, torch.Tensor] | None,
        table: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> None:
        """In place: norms of q's and k's heads, then rotary embedding."""
        q, k, _ = qkv.split((self.shape.num_heads, self.shape.num_kv_heads, self.shape.num_kv_heads), dim=1)
        for index, part in enumerate((q, k)):
            turned = part if norms is None else self._norm(part, norms[index])
            part.copy_(turned if table is None else _rotate(turned, *table))

    def _gated(self, gate_up: torch.Tensor) -> torch.Tensor:
        if self._fused is not None and gate_up.shape[0] <= _FUSED_ROWS:
            return self._fused.gated(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up

    def _head(self, w: _Head, state: _State) -> torch.Tensor:
        assert state.hidden is not None
        assert state.embedding is not None
        last = [at for span in state.spans for at in range(span.end - span.num_logits, span.end)]
        hidden = state.hidden[torch.tensor(last, dtype=torch.long, device=self.device)]
        return self._headed(hidden, w.norm, state.embedding if w.lm_head is None else w.lm_head)

    def _headed(self, hidden: torch.Tensor, norm: torch.Tensor, weight: Weight) -> torch.Tensor:
        hidden = self._norm(hidden, norm)
        if isinstance(weight, Int8):
            assert self._fused is not None
            return self._fused.product(self._fused.quantised(hidden), weight)
        return self._product(hidden, weight)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if self._fused is not None:
            return self._fused.normed(x, weight, self.shape.norm_eps)
        if x.dtype is torch.float32:
            return F.rms_norm(x, (x.shape[-1],), weight, self.shape.norm_eps)
        # transformers normalises in float32 and multiplies by the weight in the model's dtype
        return weight * F.rms_norm(x.float(), (x.shape[-1],), None, self.shape.norm_eps).to(x.dtype)

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines for these positions, (positions, 1, head dim)."""
        angles = torch.outer(positions.float(), self._inv_freq)
        table = torch.cat((angles, angles), dim=-1)[:, None]
        cos, sin = table.cos() * self._rope_scale, table.sin() * self._rope_scale
        return cos.to(self.shape.dtype), sin.to(self.shape.dtype)

    def _grow_rotary(self, num_positions: int) -> None:
        if num_positions <= self._cos.shape[0]:
            return
        size = min(self.shape.max_positions, 1 << math.ceil(math.log2(max(num_positions, 256))))
        self._cos, self._sin = self.rotary(torch.arange(max(size, num_positions), device=self.device))


class _Views:
    """Tensors of one unit as views over its flat bytes, found by the end of their names."""

    def __init__(self, unit: Unit, flat: torch.Tensor) -> None:
        self._unit, self._flat = unit, flat

    def one(self, suffix: str) -> torch.Tensor:
        view = self.maybe(suffix)
        assert view is not None, f"unit {self._unit.name} has no {suffix}"
        return view

    def maybe(self, suffix: str) -> torch.Tensor | None:
        spec = self._spec(suffix)
        return None if spec is None else self._view(spec, spec.shape)

    def weight(self, *suffixes: str) -> Weight:
        weight = self.maybe_weight(*suffixes)
        assert weight is not None, f"unit {self._unit.name} has no {suffixes}"
        return weight

    def maybe_weight(self, *suffixes: str) -> Weight | None:
        """A matrix, or several that lie one after another as one; with its scales where it is int8."""
        values = self.maybe_fused(*suffixes)
        if values is None or values.dtype is not torch.int8:
            return values
        scales = self.maybe_fused(*(suffix + SCALE for suffix in suffixes))
        assert scales is not None, f"unit {self._unit.name} has no scales of {suffixes}"
        return Int8(values, scales)

    def maybe_fused(self, *suffixes: str) -> torch.Tensor | None:
        specs = [spec for suffix in suffixes if (spec := self._spec(suffix)) is not None]
        if len(specs) < len(suffixes):
            return None
        for left, right in itertools.pairwise(specs):
            assert right.offset == left.offset + left.size_bytes, f"{left.name} and {right.name} are not adjacent"
        return self._view(specs[0], (sum(spec.shape[0] for spec in specs), *specs[0].shape[1:]))

    def _spec(self, suffix: str) -> TensorSpec | None:
        return next((spec for spec in self._unit.tensors if spec.name.endswith(suffix)), None)

    def _view(self, first: TensorSpec, shape: tuple[int, ...]) -> torch.Tensor:
        size_bytes = math.prod(shape) * DTYPE_SIZES[first.dtype]
        return self._flat[first.offset : first.offset + size_bytes].view(_DTYPES[first.dtype]).view(shape)


def _is_next(row: Row) -> bool:
    """Whether it brings one token and wants what comes after it."""
    return len(row.token_ids) == row.num_logits == 1


def _full(weight: Weight) -> torch.Tensor:
    assert isinstance(weight, torch.Tensor)
    return weight


def _int8(weight: Weight) -> Int8:
    assert isinstance(weight, Int8)
    return weight


def _rotary(config: Mapping[str, Any]) -> tuple[torch.Tensor, float]:
    """Inverse frequencies and attention scale from transformers' own tables (any constant rope type)."""
    from transformers import AutoConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    values = {key: value for key, value in config.items() if key != "model_type"}
    rotary = LlamaRotaryEmbedding(AutoConfig.for_model(config["model_type"], **values))
    return rotary.inv_freq.float(), float(rotary.attention_scaling)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding in transformers' half-split layout; x is (tokens, heads, head dim)."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def _chunk_mask(past: int, new: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Causal mask (new, past + new) for a chunk that follows `past` tokens; None where none is needed."""
    slides = window is not None and past + new > window
    if new == 1 or (past == 0 and not slides):
        return None  # one token sees all that its window shows it
    mask = torch.ones(new, past + new, dtype=torch.bool, device=device).tril(past)
    return mask.triu(past - window + 1) if slides and window is not None else mask


def _attended(
    qkv: torch.Tensor, num_heads: int, window: Window | PagedWindow, layer: int, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attention of one sequence's new tokens, whose keys and values are stored on the way, (new, heads * dim)."""
    num_kv_heads = (qkv.shape[1] - num_heads) // 2
    q, k, v = qkv.split((num_heads, num_kv_heads, num_kv_heads), dim=1)
    keys, values = window.put(layer, k.transpose(0, 1), v.transpose(0, 1))
    return _attend(q, keys, values, mask).reshape(len(qkv), -1)


def _attend(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention of one sequence: q (new, heads, dim), keys and values (kv heads, length, dim) -> like q."""
    new, num_heads, head_dim = q.shape
    num_kv_heads = keys.shape[0]
    if new == 1:  # one query per head: the heads of a group are the rows of one product
        grouped = q.view(1, num_kv_heads, num_heads // num_kv_heads, head_dim)
        return F.scaled_dot_product_attention(grouped, keys[None], values[None]).view(1, num_heads, head_dim)
    groups = num_heads // num_kv_heads
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1)[None],
        keys.repeat_interleave(groups, dim=0)[None],
        values.repeat_interleave(groups, dim=0)[None],
        attn_mask=mask,
        is_causal=mask is None,
    )
    return out[0].transpose(0, 1)
