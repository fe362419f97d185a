"""Sources are resolved to folders or refused by name with what to do, and a refusal does not stop other experts."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from hub_cache import COMMIT, as_hub_cache, no_network

from coe.config.catalog import Catalog, load_catalog
from coe.config.read import load_config
from coe.errors import SourceError, UnknownExpertError
from coe.types import Sampling


def catalog_of(tmp_path: Path, text: str, hub_dir: Path | None = None) -> Catalog:
    file = tmp_path / "coe.toml"
    file.write_text(text)
    config = load_config(file)
    return load_catalog(config.experts, config.engine.dtype, hub_dir=hub_dir)


def refusal(tmp_path: Path, source: Path, extra: str = "") -> str:
    catalog = catalog_of(tmp_path, f'[experts.bad]\nsource = "{source}"\n{extra}')
    assert len(catalog) == 0
    return str(catalog.errors["bad"])


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    value = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))


@pytest.fixture
def copy(tmp_path: Path, llama_folder: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(llama_folder, tmp_path / "copy"))


@pytest.fixture
def adapter(tmp_path: Path, lora_folder: Path) -> Path:
    """An adapter folder that a test may damage."""
    return Path(shutil.copytree(lora_folder, tmp_path / "adapter"))


def test_local_model_resolves_to_its_folder(tmp_path: Path, llama_folder: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        f"""
        [experts.Tiny]
        source = "{llama_folder}"
        aliases = ["small"]
        dtype = "bfloat16"
        pin = true
        preload = true
        keep_alive_s = 5
        generation = {{temperature = 0.5}}
        """,
    )
    spec = catalog.get("SMALL")
    assert spec == catalog.get("tiny") == next(iter(catalog))
    assert (spec.name, spec.folder, spec.tokenizer_dir, spec.adapter) == ("Tiny", llama_folder, llama_folder, None)
    assert (spec.dtype, spec.pin, spec.preload, spec.keep_alive_s) == ("bfloat16", True, True, 5.0)
    assert spec.generation == Sampling(temperature=0.5)
    assert "TINY" in catalog
    assert "other" not in catalog


def test_unknown_word_is_answered_with_the_names(tmp_path: Path, llama_folder: Path) -> None:
    catalog = catalog_of(tmp_path, f'experts.tiny = "{llama_folder}"')
    with pytest.raises(UnknownExpertError, match="there is no expert 'law'; the experts are: tiny"):
        catalog.get("law")


def test_one_bad_expert_does_not_stop_the_others(tmp_path: Path, llama_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    catalog = catalog_of(tmp_path, f'[experts]\ngeneral = "{llama_folder}"\nbad = "empty"\n')
    assert [spec.name for spec in catalog] == ["general"]
    with pytest.raises(SourceError, match=r"expert 'bad': .*config.json is missing; fetch it again"):
        catalog.get("bad")


def test_engine_dtype_is_the_default(tmp_path: Path, llama_folder: Path) -> None:
    catalog = catalog_of(tmp_path, f'experts.tiny = "{llama_folder}"\nengine.dtype = "float16"')
    assert catalog.get("tiny").dtype == "float16"


def test_models_own_generation_defaults_lie_under_the_configured(tmp_path: Path, copy: Path) -> None:
    edit(copy / "generation_config.json", do_sample=True, temperature=0.7, top_k=20, top_p=0.9)
    text = f'[experts.tiny]\nsource = "{copy}"\ngeneration = {{temperature = 0.1}}'
    assert catalog_of(tmp_path, text).get("tiny").generation == Sampling(temperature=0.1, top_k=20, top_p=0.9)
    edit(copy / "generation_config.json", do_sample=False)
    assert catalog_of(tmp_path, text).get("tiny").generation == Sampling(temperature=0.1)
    edit(copy / "generation_config.json", do_sample=False, repetition_penalty=1.1, min_p=0.2)
    assert catalog_of(tmp_path, text).get("tiny").generation == Sampling(temperature=0.1, repetition_penalty=1.1)


def test_chat_template_is_read(tmp_path: Path, llama_folder: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    text = f'[experts.tiny]\nsource = "{llama_folder}"\nchat_template = "chat.jinja"'
    assert catalog_of(tmp_path, text).get("tiny").chat_template == "{{ messages }}"
    (tmp_path / "chat.jinja").write_bytes(b"\xff")
    assert "chat.jinja cannot be read" in str(catalog_of(tmp_path, text).errors["tiny"])


@pytest.mark.parametrize("base", ["general", "./copy", ""], ids=["expert", "folder", "its own"])
def test_adapter_finds_its_base(tmp_path: Path, copy: Path, adapter: Path, base: str) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="../copy")
    written = f'base = "{base}"' if base else ""
    text = f'[experts]\ngeneral = "copy"\n[experts.tuned]\nsource = "adapter"\n{written}'
    spec = catalog_of(tmp_path, text).get("tuned")
    assert (spec.folder, spec.adapter, spec.tokenizer_dir) == (copy, adapter, copy)


def test_adapter_with_a_tokenizer_of_its_own_uses_it(tmp_path: Path, copy: Path, adapter: Path) -> None:
    tiny_models.tiny_tokenizer().save_pretrained(adapter)
    text = f'[experts.tuned]\nsource = "{adapter}"\nbase = "{copy}"'
    assert catalog_of(tmp_path, text).get("tuned").tokenizer_dir == adapter


MODEL_REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "config.json is missing; fetch it again"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing; fetch it"),
    "pickle": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "only pickle weights (pytorch_model.bin), which can run code",
    ),
    "gguf": (
        lambda folder: (folder / "model.safetensors").rename(folder / "q4.gguf"),
        "only GGUF (q4.gguf): convert it once",
    ),
    "gguf alone": (
        lambda folder: [(folder / "q4.gguf").touch(), (folder / "config.json").unlink()],
        "only GGUF (q4.gguf): convert it once",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
    "half a configuration": (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read"),
    "a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json is not a JSON object"),
    "remote code": (
        lambda folder: edit(folder / "config.json", model_type="mine", auto_map={"AutoModel": "m.M"}),
        "model_type 'mine' needs code from its repository (auto_map), and remote code is never run",
    ),
    "unknown type": (
        lambda folder: edit(folder / "config.json", model_type="mine"),
        "model_type 'mine' is unknown to transformers; upgrade it",
    ),
    "classifier": (
        lambda folder: edit(folder / "config.json", architectures=["LlamaForSequenceClassification"]),
        "LlamaForSequenceClassification is not a causal language model",
    ),
    "encoder": (
        lambda folder: edit(folder / "config.json", model_type="vit", architectures=None),
        "vit is not a causal language model",
    ),
    "vision": (lambda folder: edit(folder / "config.json", vision_config={}), "is not a text-only decoder"),
    "quantised": (
        lambda folder: edit(folder / "config.json", quantization_config={"quant_method": "gptq"}),
        "weights are quantised (gptq); name the unquantised original",
    ),
    "shard gone": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "m-1.safetensors"}}'),
        "m-1.safetensors is missing",
    ),
    "empty index": (
        lambda folder: (folder / "model.safetensors.index.json").write_text("{}"),
        "has no weight_map",
    ),
}


@pytest.mark.parametrize("case", MODEL_REFUSALS)
def test_unusable_model_is_refused_with_what_to_do(tmp_path: Path, copy: Path, case: str) -> None:
    damage, expected = MODEL_REFUSALS[case]
    damage(copy)
    message = refusal(tmp_path, copy)
    assert message.startswith("expert 'bad': ")
    assert expected in message


def test_remote_code_is_ignored_where_transformers_knows_the_model(tmp_path: Path, copy: Path) -> None:
    edit(copy / "config.json", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    assert len(catalog_of(tmp_path, f'experts.tiny = "{copy}"')) == 1


ADAPTER_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "IA3"}, "adapter of type IA3; only LORA can be merged"),
    ({"use_dora": True}, "the adapter has use_dora = True; only plain LoRA is merged"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save = ['lm_head']"),
    ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern = {'q_proj': 2}"),
    ({"bias": "all"}, "bias = 'all'"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
    ({"target_parameters": ["experts.w"]}, "target_parameters = ['experts.w']"),
    ({"base_model_name_or_path": None}, "the adapter names no base model; write base ="),
    ({"base_model_name_or_path": "/gone/model"}, "the adapter's base '/gone/model' is not here; write base ="),
]


@pytest.mark.parametrize(("changes", "expected"), ADAPTER_REFUSALS)
def test_adapter_that_is_no_plain_lora_is_refused(
    tmp_path: Path, adapter: Path, changes: dict[str, Any], expected: str
) -> None:
    edit(adapter / "adapter_config.json", **changes)
    assert expected in refusal(tmp_path, adapter)


def test_adapter_without_weights_or_over_an_adapter_is_refused(tmp_path: Path, copy: Path, adapter: Path) -> None:
    assert "is itself an adapter" in refusal(tmp_path, adapter, f'base = "{adapter}"')
    assert "base is for adapters" in refusal(tmp_path, copy, f'base = "{adapter}"')
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert "only pickle weights (adapter_model.bin)" in refusal(tmp_path, adapter, f'base = "{copy}"')


@pytest.mark.parametrize("revision", ["", 'revision = "main"', f'revision = "{COMMIT}"'], ids=["", "main", "commit"])
@pytest.mark.parametrize("sharded", [False, True], ids=["single", "sharded"])
def test_hub_id_in_the_cache_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str, sharded: bool
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    folder = tiny_models.tiny_llama(tmp_path / "model", sharded=sharded)
    as_hub_cache(tmp_path / "hub", "org/tiny", folder)
    text = f'[experts.tiny]\nsource = "org/tiny"\n{revision}'
    spec = catalog_of(tmp_path, text, tmp_path / "hub").get("tiny")
    assert spec.folder.name == COMMIT
    assert spec.source.startswith("org/tiny")


def test_hub_adapter_and_its_hub_base_resolve_from_the_cache(tmp_path: Path, llama_folder: Path, adapter: Path) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="org/tiny")
    as_hub_cache(tmp_path / "hub", "org/tiny", llama_folder)
    as_hub_cache(tmp_path / "hub", "org/lora", adapter)
    spec = catalog_of(tmp_path, 'experts.tuned = "org/lora"', tmp_path / "hub").get("tuned")
    assert spec.adapter is not None
    assert "models--org--lora" in str(spec.adapter)
    assert "models--org--tiny" in str(spec.folder)


def test_hub_id_that_is_neither_cached_nor_reachable_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for revision in ("", f'revision = "{COMMIT}"'):
        text = f'[experts.tiny]\nsource = "org/gone"\n{revision}'
        error = catalog_of(tmp_path, text, tmp_path / "hub").errors["tiny"]
        assert "hub id 'org/gone'" in str(error)
        assert "not in the cache and the hub cannot be reached" in str(error)


def test_pinned_snapshot_without_its_weights_is_completed_or_refused(tmp_path: Path, llama_folder: Path) -> None:
    as_hub_cache(tmp_path / "hub", "org/tiny", llama_folder)
    next((tmp_path / "hub").glob("*/snapshots/*/model.safetensors")).unlink()
    text = f'[experts.tiny]\nsource = "org/tiny"\nrevision = "{COMMIT}"'
    assert "model.safetensors is missing" in str(catalog_of(tmp_path, text, tmp_path / "hub").errors["tiny"])


def test_importing_the_catalogue_imports_no_torch() -> None:
    code = "import sys, coe.config.catalog; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
