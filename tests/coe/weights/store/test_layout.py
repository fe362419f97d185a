"""transformers' own classes say which unit a parameter belongs to, and fused projections lie without gaps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coe.errors import SourceError
from coe.weights.store.layout import Parameter, lay_out_model, lay_out_unit, padded_bytes

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
}
OPT: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 64,
    "hidden_size": 16,
    "word_embed_proj_dim": 16,
    "ffn_dim": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
NEOX: dict[str, Any] = {
    "model_type": "gpt_neox",
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "tie_word_embeddings": False,
}
GPT2 = {"model_type": "gpt2", "vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}


def outside_layers(config: dict[str, Any]) -> dict[str, list[str]]:
    layout = lay_out_model("x", config)
    units = {unit.name: [parameter.name for parameter in unit.parameters] for unit in layout.units}
    assert list(units) == ["embed", "layer.0", "layer.1", "head"]
    for index in range(2):
        assert all(f".{index}." in name for name in units[f"layer.{index}"])
    return {"embed": units["embed"], "head": units["head"]}


@pytest.mark.parametrize(
    ("config", "embed", "head"),
    [
        (LLAMA, ["model.embed_tokens.weight"], ["model.norm.weight"]),
        (
            {**LLAMA, "tie_word_embeddings": False},
            ["model.embed_tokens.weight"],
            ["model.norm.weight", "lm_head.weight"],
        ),
        (
            OPT,
            ["model.decoder.embed_tokens.weight", "model.decoder.embed_positions.weight"],
            ["model.decoder.final_layer_norm.weight", "model.decoder.final_layer_norm.bias"],
        ),
        (
            NEOX,
            ["gpt_neox.embed_in.weight"],
            ["gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias", "lm_head.weight"],
        ),
        (
            GPT2,
            ["transformer.wte.weight", "transformer.wpe.weight"],
            ["transformer.ln_f.weight", "transformer.ln_f.bias"],
        ),
    ],
    ids=["llama", "untied-llama", "opt", "gpt-neox", "gpt2"],
)
def test_what_runs_before_the_layers_is_embed_and_after_is_head(
    config: dict[str, Any], embed: list[str], head: list[str]
) -> None:
    assert outside_layers(config) == {"embed": embed, "head": head}


def test_tied_output_has_no_parameter_of_its_own() -> None:
    layout = lay_out_model("x", LLAMA)
    assert layout.tied == {"lm_head.weight": "model.embed_tokens.weight"}
    assert "lm_head.weight" not in layout.parameters
    assert not any("inv_freq" in name for name in layout.parameters)


def test_model_that_transformers_cannot_build_is_refused_by_expert() -> None:
    with pytest.raises(SourceError, match="expert 'x': transformers cannot build a 'llama'"):
        lay_out_model("x", {**LLAMA, "hidden_size": "wide"})


def test_projections_that_can_be_fused_lie_without_gaps_in_order() -> None:
    shapes = {"up_proj": (3, 5), "v_proj": (1, 5), "q_proj": (3, 5), "gate_proj": (3, 5), "k_proj": (1, 5)}
    weights = [Parameter(f"l.{name}.weight", shape) for name, shape in shapes.items()]
    biases = [Parameter(f"l.{name}.bias", shape[:1]) for name, shape in shapes.items()]
    specs = {spec.name: spec for spec in lay_out_unit([*weights, *biases], "BF16")}
    assert len(specs) == 10
    for kind in ("weight", "bias"):
        for group in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")):
            first, *rest = (specs[f"l.{name}.{kind}"] for name in group)
            assert first.offset % 64 == 0
            end = first.offset + first.size_bytes
            for spec in rest:
                assert spec.offset == end
                end += spec.size_bytes


def test_tensors_never_overlap_and_units_are_whole_pages() -> None:
    specs = lay_out_unit([Parameter("a", (7,)), Parameter("b", (5000,)), Parameter("c", (1,), is_float32=True)], "F16")
    ends = [spec.offset + spec.size_bytes for spec in specs]
    assert all(spec.offset >= end for spec, end in zip(specs[1:], ends, strict=False))
    assert [spec.dtype for spec in specs] == ["F16", "F16", "F32"]
    assert padded_bytes(specs) == 3 * 4096
    assert padded_bytes(()) == 4096


def test_projections_of_different_widths_are_not_grouped() -> None:
    odd = [Parameter("q_proj.weight", (2, 3)), Parameter("k_proj.weight", (2, 4)), Parameter("v_proj.weight", (2, 3))]
    assert [spec.offset for spec in lay_out_unit(odd, "F32")] == [0, 64, 128]


def test_layers_that_share_the_keys_and_values_of_others_are_no_state() -> None:
    """Gemma 3n's last layers have none of their own, which transformers' cache shows as a layer of another class."""
    from transformers import CONFIG_MAPPING

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 6, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": 64, "vocab_size_per_layer_input": 64}
    config = CONFIG_MAPPING["gemma3n_text"](
        **shape,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=2,
        laurel_rank=4,
        altup_num_inputs=2,
        activation_sparsity_pattern=[0.0] * 6,
        layer_types=["sliding_attention", "full_attention"] * 3,
    )
    assert lay_out_model("tiny", json.loads(config.to_json_string(use_diff=False))).units
