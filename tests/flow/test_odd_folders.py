"""One odd expert is refused by name with its cause, and the rest is served with the same tokens.

All odd folders stand in one composition beside a good expert and a good adapter, so one start proves them all.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import odd_folders
import pytest
import torch
from compositions import ask, write_config
from odd_folders import Damage, edit, edit_header, edit_tensors, nested, raw, weight_map
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.runtime import Runtime
from router import GeneralOnly

CONFIG, GENERATION, INDEX = "config.json", "generation_config.json", "model.safetensors.index.json"
LORA, LORA_CONFIG = "adapter_model.safetensors", "adapter_config.json"
NORM, Q = "model.norm.weight", "model.layers.0.self_attn.q_proj.weight"
LORA_Q = "base_model.model.model.layers.0.self_attn.q_proj"


def offsets(start: int, end: int) -> Damage:
    return edit_header(lambda header: header[NORM].update(data_offsets=[start, end]))


def swap_rank(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LORA_Q}.lora_A.weight"], tensors[f"{LORA_Q}.lora_B.weight"] = torch.zeros(0, 64), torch.zeros(64, 0)


def emptied(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update({name: torch.zeros(0) for name in tensors})


def outside_link(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / f"{folder.name}.safetensors")
    (folder / "link.safetensors").symlink_to(folder.parent / f"{folder.name}.safetensors")
    weight_map(**{NORM: "link.safetensors"})(folder)


MODELS: dict[str, tuple[Damage, str]] = {
    # fields of config.json
    "hidden-size-text": (edit(CONFIG, hidden_size="big"), r'config.json: hidden_size = "big": expected a whole number'),
    "hidden-size-null": (edit(CONFIG, hidden_size=None), r"config.json: hidden_size = null: expected"),
    "hidden-size-other": (edit(CONFIG, hidden_size=128), r"and config.json asks for"),
    "vocab-other": (edit(CONFIG, vocab_size=600), r"is \(512, 64\) and config.json asks for \(600, 64\)"),
    "vocab-huge": (edit(CONFIG, vocab_size=10**15), r"vocab_size = 1000000000000000: expected"),
    "heads-zero": (edit(CONFIG, num_attention_heads=0), r"num_attention_heads = 0: expected"),
    "heads-undivided": (
        edit(CONFIG, num_attention_heads=5),
        r"num_attention_heads = 5 is not a multiple of num_key_va",
    ),
    "kv-heads-undivided": (edit(CONFIG, num_key_value_heads=3), r"not a multiple of num_key_value_heads = 3"),
    "layers-negative": (edit(CONFIG, num_hidden_layers=-1), r"num_hidden_layers = -1: expected"),
    "layers-huge": (edit(CONFIG, num_hidden_layers=9_999), r"num_hidden_layers = 9,999 and its checkpoint 2\d tensors"),
    "layers-huge-gpt2": (edit(CONFIG, num_layers=9_999), r"num_layers = 9,999 and its checkpoint 2\d tensors"),
    "positions-huge": (edit(CONFIG, max_position_embeddings=2**31), r"max_position_embeddings = 2147483648: expected"),
    "eps-text": (edit(CONFIG, rms_norm_eps="small"), r"rms_norm_eps = \"small\": expected a number above 0"),
    "eps-nan": (edit(CONFIG, rms_norm_eps=float("nan")), r"rms_norm_eps = NaN: expected a number above 0"),
    "type-list": (edit(CONFIG, model_type=["llama"]), r"model_type = \[\"llama\"\]: expected a text"),
    "type-missing": (edit(CONFIG, model_type=...), r"config.json has no model_type"),
    "architectures-number": (edit(CONFIG, architectures=5), r"architectures = 5: expected a list of texts"),
    "eos-text": (edit(CONFIG, eos_token_id="</s>"), r"eos_token_id = \"</s>\": expected a whole number"),
    "eos-texts": (edit(CONFIG, eos_token_id=["a"]), r"eos_token_id = \[\"a\"\]: expected"),
    "eos-negative": (edit(CONFIG, eos_token_id=-5), r"eos_token_id = -5: expected"),
    "rope-list": (edit(CONFIG, rope_scaling=[1], rope_parameters=...), r"rope_scaling = \[1\]: expected an object"),
    "rope-factor-text": (
        edit(CONFIG, rope_scaling={"rope_type": "linear", "factor": "x"}, rope_parameters=...),
        r"rope_scaling = .*: expected an object of finite numbers and texts, with a factor above 0",
    ),
    "act-unknown": (edit(CONFIG, hidden_act="nope"), r"cannot build a 'llama' from its config.json: .*nope"),
    "window-text": (edit(CONFIG, sliding_window="x"), r"sliding_window = \"x\": expected"),
    "nested": (nested(CONFIG), r"config.json is nested too deeply"),
    "nested-a-little": (edit(CONFIG, extra=json.loads("[" * 150 + "]" * 150)), r"config.json is nested too deeply"),
    "no-utf8": (raw(CONFIG, b"\xff\xfe{}"), r"config.json cannot be read"),
    "config-huge": (odd_folders.huge(CONFIG, 500 << 20), r"config.json has 524,288,000 bytes, and at most"),
    "config-pipe": (odd_folders.pipe(CONFIG), r"config.json is a pipe, not a file"),
    "config-folder": (odd_folders.folder_instead(CONFIG), r"config.json is missing"),
    "config-link": (
        lambda folder: [(folder / CONFIG).unlink(), (folder / CONFIG).symlink_to("/dev/zero")],
        r"config.json is a device, not a file",
    ),
    "config-proc": (
        lambda folder: [(folder / CONFIG).unlink(), (folder / CONFIG).symlink_to("/proc/kmsg")],
        r"config.json links to /proc/kmsg, which is empty",
    ),
    # generation_config.json and the tokenizer
    "generation-eos": (edit(GENERATION, eos_token_id={"a": 1}), r"generation_config.json: eos_token_id = "),
    "generation-heat": (edit(GENERATION, temperature="hot"), r"generation_config.json: temperature = \"hot\""),
    "generation-list": (raw(GENERATION, b"[]"), r"generation_config.json is not a JSON object"),
    "tokenizer-nested": (nested("tokenizer.json"), r"'bad-tokenizer-nested': .*tokenizer"),
    "tokenizer-pipe": (odd_folders.pipe("tokenizer.json"), r"tokenizer.json is a pipe"),
    "tokenizer-config-pipe": (odd_folders.pipe("tokenizer_config.json"), r"tokenizer_config.json is a pipe"),
    "template-pipe": (odd_folders.pipe("chat_template.jinja"), r"chat_template.jinja is a pipe"),
    "tokenizer-huge": (odd_folders.huge("tokenizer.json", 1 << 40), r"tokenizer.json has 1,099,511,627,776 bytes"),
    # the index
    "index-null": (weight_map(**{NORM: None}), r"weight_map says that model.norm.weight is in 'None'"),
    "index-outside": (
        weight_map(**{NORM: "../outside.safetensors"}),
        r"is in '../outside.safetensors'; expected the na",
    ),
    "index-link": (outside_link, r"is in 'link.safetensors'; expected the name"),
    "index-absolute": (weight_map(**{NORM: "/etc/passwd"}), r"is in '/etc/passwd'; expected the name"),
    "index-pickle": (weight_map(**{NORM: "pytorch_model.bin"}), r"is in 'pytorch_model.bin'; expected the name"),
    "index-list": (raw(INDEX, b'{"weight_map": ["a"]}'), r"has no weight_map"),
    "index-nested": (nested(INDEX), r"index.json is nested too deeply"),
    "index-huge": (odd_folders.huge(INDEX, 500 << 20), r"index.json has 524,288,000 bytes"),
    # safetensors
    "weights-pipe": (odd_folders.pipe("model.safetensors"), r"model.safetensors is a pipe"),
    "weights-folder": (odd_folders.folder_instead("model.safetensors"), r"model.safetensors is missing"),
    "weights-empty": (raw("model.safetensors", b""), r"model.safetensors is truncated or no safetensors"),
    "weights-text": (raw("model.safetensors", b"x" * 4096), r"model.safetensors is truncated or no safetensors"),
    "weights-truncated": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100]),
        r"model.safetensors is truncated or no safetensors",
    ),
    "weights-no-tensors": (edit_tensors(dict.clear), r"tensors"),
    "header-huge": (
        edit_header(lambda header: header[NORM].update(shape=[10**15])),
        r"model.safetensors is truncated or no safetensors",
    ),
    "header-overlap": (offsets(0, 256), r"model.safetensors is truncated or no safetensors"),
    "header-negative": (offsets(-256, 0), r"model.safetensors is truncated or no safetensors"),
    "header-dtype": (
        edit_header(lambda header: header[NORM].update(dtype="F99")),
        r"model.safetensors is truncated or no safetensors",
    ),
    "tensor-int8": (
        edit_tensors(lambda tensors: tensors.update({NORM: torch.ones(64, dtype=torch.int8)})),
        r"tensor 'model.norm.weight' is I8: quantised weights are not read",
    ),
    "tensor-empty": (
        edit_tensors(lambda tensors: tensors.update({NORM: torch.zeros(0)})),
        r"tensor 'model.norm.weight' is \(0,\)",
    ),
    "tensor-scalar": (
        edit_tensors(lambda tensors: tensors.update({NORM: torch.tensor(1.0)})),
        r"tensor 'model.norm.weight' is \(\)",
    ),
    "tensor-missing": (
        edit_tensors(lambda tensors: tensors.pop(Q)),
        r"tensor 'model.layers.0.self_attn.q_proj.weight' is",
    ),
}
ADAPTERS: dict[str, tuple[Damage, str]] = {
    "alpha-missing": (edit(LORA_CONFIG, lora_alpha=...), r"adapter_config.json has no lora_alpha"),
    "alpha-null": (edit(LORA_CONFIG, lora_alpha=None), r"lora_alpha = null: expected a number other than 0"),
    "alpha-text": (edit(LORA_CONFIG, lora_alpha="x"), r"lora_alpha = \"x\": expected a number"),
    "alpha-zero": (edit(LORA_CONFIG, lora_alpha=0), r"lora_alpha = 0: expected a number other than 0"),
    "rank-zero": (edit(LORA_CONFIG, r=0), r"adapter_config.json: r = 0: expected"),
    "rank-other": (edit(LORA_CONFIG, r=99), r"q_proj.weight has rank 4 and adapter_config.json says 99|has rank 4"),
    "rank-pattern": (edit(LORA_CONFIG, rank_pattern=["x"]), r"rank_pattern = \[\"x\"\]: expected an object"),
    "peft-list": (edit(LORA_CONFIG, peft_type=["LORA"]), r"adapter of type \['LORA'\]"),
    "base-number": (edit(LORA_CONFIG, base_model_name_or_path=7), r"base_model_name_or_path = 7: expected a text"),
    "rslora-text": (edit(LORA_CONFIG, use_rslora="yes"), r"use_rslora = \"yes\": expected true or false"),
    "nested": (nested(LORA_CONFIG), r"adapter_config.json is nested too deeply"),
    "rank-empty": (
        edit_tensors(swap_rank, LORA),
        r"lora_A \(0, 64\) and lora_B \(64, 0\) of .* are no pair of matrices",
    ),
    "tensors-empty": (edit_tensors(emptied, LORA), r"lora_A \(0,\) and lora_B \(0,\) of .* are no pair of matrices"),
    "no-tensors": (edit_tensors(dict.clear, LORA), r"adapter_model.safetensors has no tensors"),
    "other-modules": (
        edit_tensors(
            lambda tensors: [
                tensors.update({name.replace("layers.0.", "layers.7."): tensors.pop(name)}) for name in list(tensors)
            ],
            LORA,
        ),
        r"the adapter changes model.layers.7.* which the base .* has not",
    ),
    "int8": (
        edit_tensors(lambda tensors: tensors.update({n: t.to(torch.int8) for n, t in tensors.items()}), LORA),
        r"is I8: quantised weights are not read",
    ),
    "truncated": (
        lambda folder: (folder / LORA).write_bytes((folder / LORA).read_bytes()[:-100]),
        r"adapter_model.safetensors is truncated",
    ),
}
ARCHITECTURES = {
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "mamba2": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 4,
        "num_heads": 4,
        "head_dim": 16,
        "n_groups": 1,
    },
    "rwkv": {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2, "context_length": 64},
    "recurrent_gemma": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64},
    "jamba": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "qwen3_next": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2},
}


def architecture(folder: Path, model_type: str, like: Path) -> Path:
    """A folder of another architecture: refused before its weights are read, so those are of no model."""
    odd_folders.copied(like, folder, lambda _: None)
    values = CONFIG_MAPPING[model_type](vocab_size=512, **ARCHITECTURES[model_type]).to_dict()
    (folder / CONFIG).write_text(json.dumps({**values, "architectures": None}, default=str))
    return folder


@pytest.fixture(scope="module")
def odd(
    tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, lora_folder: Path
) -> Iterator[tuple[Runtime, list[int], list[int]]]:
    """A runtime over all of them, and what the good expert and the good adapter answer there."""
    place = tmp_path_factory.mktemp("odd")
    folders = {"good": llama_folder, "tuned": lora_folder}
    for name, (damage, _) in MODELS.items():
        folders[f"bad-{name}"] = odd_folders.copied(llama_folder, place / name, damage)
    for name, (damage, _) in ADAPTERS.items():
        folders[f"bad-lora-{name}"] = odd_folders.copied(lora_folder, place / f"lora-{name}", damage)
    for name in ARCHITECTURES:
        folders[f"bad-{name}"] = architecture(place / name, name, llama_folder)
    config = load_config(write_config(place, folders))
    runtime = build_runtime(config, GeneralOnly(general="good", names=config.names))

    async def answers() -> list[list[int]]:
        await runtime.start()
        return [await ask(runtime, name, "hello", 8) for name in ("good", "tuned")]

    good, tuned = asyncio.run(answers())
    yield runtime, good, tuned
    runtime.engine.close()


CASES = {f"bad-{name}": expected for name, (_, expected) in MODELS.items()}
CASES |= {f"bad-lora-{name}": expected for name, (_, expected) in ADAPTERS.items()}
CASES |= {f"bad-{name}": f"a '{name}' keeps a recurrent state" for name in ARCHITECTURES}
CASES["bad-openai-gpt"] = "a 'openai-gpt' keeps its past in no cache of keys and values"


@pytest.mark.parametrize("name", CASES)
def test_an_odd_expert_is_refused_with_its_cause(odd: tuple[Runtime, list[int], list[int]], name: str) -> None:
    error = str(odd[0].experts.errors[name])
    assert error.startswith(f"expert '{name}': ")
    assert re.search(CASES[name], error), error
    assert "\n" not in error
    assert len(error) < 1000


def test_the_others_answer_as_they_do_alone(
    odd: tuple[Runtime, list[int], list[int]], llama_folder: Path, lora_folder: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama_folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    base = AutoModelForCausalLM.from_pretrained(llama_folder)
    expected = [base.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :].tolist()]
    merged = PeftModel.from_pretrained(base, lora_folder).merge_and_unload()
    expected.append(merged.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :].tolist())
    assert list(odd[1:]) == expected
