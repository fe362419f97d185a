"""What `dtype = "auto"` and `weights = …` mean on each kind of processor: features faked, no model is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch

from coe.assembly.forms import form_for, rounds_prompts, stored_form
from coe.assembly.processor import Processor
from coe.config.catalog import ExpertSpec
from coe.errors import WeightsError
from coe.weights.store.importer import StoredForm

CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 128,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128,
}
LAYER = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.down_proj",
)
TENSORS = ["model.embed_tokens.weight", "model.norm.weight", *(f"model.layers.0.{name}.weight" for name in LAYER)]
CPU = torch.device("cpu")

# kinds of processors
CASCADE_LAKE = Processor(CPU, has_compiler=True, has_exact_int8=True)  # AVX-512 and VNNI, no bfloat16
ZEN_4 = Processor(CPU, has_compiler=True, has_bfloat16=True, has_exact_int8=True)
SAPPHIRE_RAPIDS = Processor(CPU, has_compiler=True, has_bfloat16=True, has_float16=True, has_exact_int8=True)
OLD = Processor(CPU, has_compiler=True)  # no VNNI
NO_NUMBA = Processor(CPU, has_bfloat16=True, has_exact_int8=True)
NO_NUMBA_OLD = Processor(CPU)
CUDA = Processor(torch.device("cuda"), has_bfloat16=True, has_float16=True, has_pages=True)


def spec(**options: Any) -> ExpertSpec:
    return ExpertSpec("tiny", "somewhere", Path("nowhere"), Path("nowhere"), **options)


def form(processor: Processor, stored: str, *, config: dict[str, Any] = CONFIG, **options: Any) -> StoredForm:
    return form_for(spec(**options), config, TENSORS, stored, processor)


@pytest.mark.parametrize(
    ("processor", "stored", "expected"),
    [
        (CASCADE_LAKE, "BF16", StoredForm("float32", "kept-bfloat16")),
        (ZEN_4, "BF16", StoredForm("float32", "bfloat16")),
        (SAPPHIRE_RAPIDS, "BF16", StoredForm("float32", "bfloat16")),
        (NO_NUMBA, "BF16", StoredForm("bfloat16")),
        (NO_NUMBA_OLD, "BF16", StoredForm("float32")),
        (CUDA, "BF16", StoredForm("bfloat16")),
        (CASCADE_LAKE, "F16", StoredForm("float32")),
        (SAPPHIRE_RAPIDS, "F16", StoredForm("float16")),
        (CUDA, "F16", StoredForm("float16")),
        (ZEN_4, "F32", StoredForm("float32")),
        (CUDA, "F32", StoredForm("float32")),
    ],
)
def test_auto_is_the_form_that_this_kind_of_processor_runs_fastest(
    processor: Processor, stored: str, expected: StoredForm
) -> None:
    assert form(processor, stored) == expected


@pytest.mark.parametrize(
    ("processor", "expected"),
    [(ZEN_4, "bfloat16"), (CASCADE_LAKE, "float32"), (CUDA, "bfloat16")],
)
def test_an_architecture_outside_llamas_shape_is_computed_in_what_the_processor_multiplies_fast(
    processor: Processor, expected: str
) -> None:
    assert form(processor, "BF16", config={"model_type": "gpt2"}) == StoredForm(expected)


def test_sizes_that_no_tile_divides_are_left_to_torch() -> None:
    odd = {**CONFIG, "hidden_size": 60, "head_dim": 15}
    assert form(ZEN_4, "BF16", config=odd) == StoredForm("bfloat16")
    assert form(CASCADE_LAKE, "BF16", config=odd) == StoredForm("float32")


@pytest.mark.parametrize("missing", sorted(CONFIG.keys() - {"model_type"}))
def test_a_configuration_that_leaves_out_a_number_is_left_to_transformers(missing: str) -> None:
    config = {key: value for key, value in CONFIG.items() if key != missing}
    assert form(CASCADE_LAKE, "BF16", config=config) == StoredForm("float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_dtype_that_is_named_is_taken_on_every_processor(dtype: str) -> None:
    for processor in (CASCADE_LAKE, ZEN_4, NO_NUMBA, CUDA):
        assert form(processor, "BF16", dtype=dtype) == StoredForm(dtype)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize(
    ("processor", "config", "why"),
    [
        (ZEN_4, {"model_type": "gpt2"}, "its architecture runs through transformers' modules"),
        (CUDA, CONFIG, "run on the CPU only so far"),
        (NO_NUMBA, CONFIG, "it needs numba"),
        (ZEN_4, {**CONFIG, "head_dim": 15}, "not multiples of 16 and 32"),
    ],
)
def test_matrices_that_nothing_here_multiplies_are_refused_with_the_remedy(
    weights: str, processor: Processor, config: dict[str, Any], why: str
) -> None:
    with pytest.raises(WeightsError, match=f'expert \'tiny\': weights = "{weights}" cannot be used: .*{why}.*"full"'):
        form(processor, "BF16", config=config, weights=weights)


def test_int8_needs_products_that_do_not_overflow() -> None:
    with pytest.raises(WeightsError, match="no VNNI"):
        form(OLD, "BF16", weights="int8")
    assert form(OLD, "BF16", weights="bfloat16") == StoredForm("float32", "bfloat16")
    assert form(CASCADE_LAKE, "F32", weights="int8") == StoredForm("float32", "int8")


def test_the_checkpoint_itself_is_asked(tmp_path: Path) -> None:
    folder = tiny_models.tiny_llama(tmp_path / "m", dtype="bfloat16")
    real = ExpertSpec("tiny", str(folder), folder, folder)
    assert stored_form(real, ZEN_4) == StoredForm("float32", "bfloat16")
    biased = tiny_models.tiny_llama(tmp_path / "biased", dtype="bfloat16", attention_bias=True)
    assert json.loads((biased / "config.json").read_text())["attention_bias"]
    assert stored_form(ExpertSpec("tiny", str(biased), biased, biased), ZEN_4) == StoredForm("bfloat16")


def test_prompts_may_be_rounded_on_native_bfloat16_where_no_dtype_is_named() -> None:
    assert rounds_prompts(spec(), ZEN_4)
    assert not rounds_prompts(spec(), CASCADE_LAKE)
    for options in ({"dtype": "float32"}, {"dtype": "bfloat16"}, {"weights": "bfloat16"}, {"weights": "int8"}):
        assert not rounds_prompts(spec(**options), ZEN_4)
