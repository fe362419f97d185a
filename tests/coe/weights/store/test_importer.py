"""An import keeps every tensor's bytes, is done once, survives a kill, and fails by name with nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import coe.weights.store.importer as importer
from coe.config.catalog import ExpertSpec
from coe.errors import WeightsError
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


@pytest.fixture
def store(tmp_path: Path) -> UnitStore:
    return UnitStore(tmp_path / "store")


@pytest.fixture
def copy(tmp_path: Path, llama_folder: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(llama_folder, tmp_path / "copy"))


def spec_of(folder: Path, **options: object) -> ExpertSpec:
    return ExpertSpec("tiny", str(folder), folder, folder, **options)  # type: ignore[arg-type]


def tensors_of(store: UnitStore, manifest: Manifest) -> dict[str, torch.Tensor]:
    tensors = {}
    for unit in manifest.units:
        data = torch.frombuffer(bytearray(store.path(unit).read_bytes()), dtype=torch.uint8)
        assert data.numel() == unit.size_bytes
        for spec in unit.tensors:
            flat = data[spec.offset : spec.offset + spec.size_bytes]
            tensors[spec.name] = flat.view(DTYPES[spec.dtype]).view(spec.shape)
    return tensors


def no_work(*_args: object, **_options: object) -> None:
    raise AssertionError("an import that is there must not be done again")


@pytest.mark.parametrize("builder", ["tiny_llama", "tiny_qwen2", "tiny_qwen3", "tiny_mistral", "tiny_gpt2"])
@pytest.mark.parametrize("sharded", [False, True], ids=["single", "sharded"])
def test_stored_tensors_are_bit_equal_to_the_source(
    tmp_path: Path, store: UnitStore, builder: str, sharded: bool
) -> None:
    folder = getattr(tiny_models, builder)(tmp_path / "model", sharded=sharded)
    manifest = import_expert(store, spec_of(folder))
    model = AutoModelForCausalLM.from_pretrained(folder)
    stored = tensors_of(store, manifest)
    expected = dict(model.named_parameters())  # without duplicates: tied tensors once
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in expected)
    assert manifest.tied.keys() == set(model.state_dict()) - expected.keys()
    assert manifest.num_parameters == sum(parameter.numel() for parameter in expected.values())
    assert [unit.name for unit in manifest.units] == ["embed", "layer.0", "layer.1", "layer.2", "head"]
    assert manifest.config["model_type"] == builder.removeprefix("tiny_")
    assert manifest.generation_config["eos_token_id"] == 2


def test_padding_is_zeros_so_equal_tensors_are_equal_units(store: UnitStore, llama_folder: Path) -> None:
    head = import_expert(store, spec_of(llama_folder)).units[-1]
    (norm,) = head.tensors
    assert set(store.path(head).read_bytes()[norm.offset + norm.size_bytes :]) == {0}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tensors_are_cast_to_the_wanted_dtype(store: UnitStore, llama_folder: Path, dtype: str) -> None:
    manifest = import_expert(store, spec_of(llama_folder), StoredForm(dtype))
    source = load_file(llama_folder / "model.safetensors")
    assert manifest.dtype == dtype
    for name, tensor in tensors_of(store, manifest).items():
        assert torch.equal(tensor, source[name].to(getattr(torch, dtype)))


def test_second_import_is_a_lookup(store: UnitStore, llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = import_expert(store, spec_of(llama_folder))
    monkeypatch.setattr(importer, "Import", no_work)
    assert import_expert(store, spec_of(llama_folder)) == manifest


def test_changed_source_is_imported_anew(store: UnitStore, copy: Path) -> None:
    before = import_expert(store, spec_of(copy))
    tensors = load_file(copy / "model.safetensors")
    save_file({**tensors, "model.norm.weight": tensors["model.norm.weight"] + 1}, copy / "model.safetensors")
    after = import_expert(store, spec_of(copy))
    assert [a == b for a, b in zip(before.units, after.units, strict=True)] == [True] * 4 + [False]


def test_progress_ends_at_the_bytes_of_the_manifest(store: UnitStore, llama_folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    manifest = import_expert(store, spec_of(llama_folder), progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (manifest.size_bytes, manifest.size_bytes)


def test_killed_import_keeps_its_units_and_is_finished_by_the_next(store: UnitStore, llama_folder: Path) -> None:
    """A killed import leaves some units, no manifest and half a temporary file."""
    manifest = import_expert(store, spec_of(llama_folder))
    for path in (store.folder / "manifests").iterdir():
        path.unlink()
    kept, lost = manifest.units[:3], manifest.units[3:]
    for unit in lost:
        store.path(unit).unlink()
    (store.folder / "tmp" / "half").write_bytes(b"half a unit")
    inodes = [store.path(unit).stat().st_ino for unit in kept]
    assert import_expert(store, spec_of(llama_folder)) == manifest
    assert [store.path(unit).stat().st_ino for unit in kept] == inodes
    assert store.verify(manifest) == []


def test_full_disk_fails_by_name_and_the_next_import_goes_on(
    store: UnitStore, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.put

    def put_twice(data: memoryview) -> str:
        if len(list(store.folder.glob("units/*/*"))) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return put(data)

    monkeypatch.setattr(store, "put", put_twice)
    with pytest.raises(WeightsError, match=r"expert 'tiny': cannot be imported into .*No space left.*free space"):
        import_expert(store, spec_of(llama_folder))
    assert list((store.folder / "tmp").iterdir()) == list((store.folder / "manifests").iterdir()) == []
    monkeypatch.undo()
    assert store.verify(import_expert(store, spec_of(llama_folder))) == []


def test_merged_adapter_equals_pefts_own_merge(store: UnitStore, llama_folder: Path, lora_folder: Path) -> None:
    manifest = import_expert(store, spec_of(llama_folder, adapter=lora_folder))
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama_folder), lora_folder)
    expected = dict(peft.merge_and_unload().named_parameters())
    stored = tensors_of(store, manifest)
    assert stored.keys() == expected.keys()
    for name, tensor in stored.items():
        torch.testing.assert_close(tensor, expected[name].detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}], ids=["rslora", "ranks"])
def test_variants_of_scale_and_rank_equal_pefts_own_merge(
    tmp_path: Path, store: UnitStore, llama_folder: Path, options: dict[str, object]
) -> None:
    adapter = tiny_models.tiny_lora(tmp_path / "lora", llama_folder, seed=3, **options)
    stored = tensors_of(store, import_expert(store, spec_of(llama_folder, adapter=adapter)))
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama_folder), adapter)
    for name, tensor in peft.merge_and_unload().named_parameters():
        torch.testing.assert_close(stored[name], tensor.detach(), rtol=1e-6, atol=1e-6)


def test_adapter_of_transposed_weights_equals_pefts_own_merge(
    tmp_path: Path, store: UnitStore, gpt2_folder: Path
) -> None:
    adapter = tiny_models.tiny_lora(
        tmp_path / "lora", gpt2_folder, target_modules=("c_attn", "c_proj"), fan_in_fan_out=True
    )
    stored = tensors_of(store, import_expert(store, spec_of(gpt2_folder, adapter=adapter)))
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(gpt2_folder), adapter)
    for name, tensor in peft.merge_and_unload().named_parameters():
        torch.testing.assert_close(stored[name], tensor.detach(), rtol=1e-6, atol=1e-6)


def test_base_and_adapter_share_what_the_adapter_leaves_alone(
    store: UnitStore, llama_folder: Path, lora_folder: Path
) -> None:
    base = import_expert(store, spec_of(llama_folder))
    before = store.disk_bytes()
    tuned = import_expert(store, spec_of(llama_folder, adapter=lora_folder))
    shared = {unit.name for unit in set(base.units) & set(tuned.units)}
    assert shared == {"embed", "head"}
    written = sum(unit.size_bytes for unit in tuned.units if unit.name not in shared)
    assert written <= store.disk_bytes() - before < written + base.units[0].size_bytes


def test_checkpoint_without_the_models_prefix_or_with_old_masks_is_read(
    tmp_path: Path, store: UnitStore, gpt2_folder: Path
) -> None:
    folder = Path(shutil.copytree(gpt2_folder, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    save_file({**bare, "h.0.attn.bias": torch.ones(4, 4)}, folder / "model.safetensors")
    stored = tensors_of(store, import_expert(store, spec_of(folder)))
    assert all(torch.equal(stored[name], tensor) for name, tensor in tensors.items())


def test_tied_tensor_may_be_stored_under_either_name_or_both(store: UnitStore, copy: Path, llama_folder: Path) -> None:
    expected = import_expert(store, spec_of(llama_folder)).units
    tensors = load_file(copy / "model.safetensors")
    embedding = tensors.pop("model.embed_tokens.weight")
    save_file({**tensors, "lm_head.weight": embedding}, copy / "model.safetensors")
    assert import_expert(store, spec_of(copy)).units == expected
    both = {"lm_head.weight": embedding, "model.embed_tokens.weight": embedding.clone()}
    save_file({**tensors, **both}, copy / "model.safetensors")
    assert import_expert(store, spec_of(copy)).units == expected


Tensors = dict[str, torch.Tensor]
DAMAGES: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "missing": (
        lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"),
        r"tensor 'model.layers.1.mlp.up_proj.weight' is missing in .*; fetch it again",
    ),
    "left-over": (
        lambda tensors: tensors.update({"model.layers.9.extra": torch.ones(1)}),
        r"tensor 'model.layers.9.extra' \(1 in all\) is not part of the model",
    ),
    "misshapen": (
        lambda tensors: tensors.update({"model.norm.weight": torch.ones(3)}),
        r"tensor 'model.norm.weight' is \(3,\) and config.json asks for \(64,\)",
    ),
    "quantised": (
        lambda tensors: tensors.update({"model.norm.weight": torch.ones(64, dtype=torch.int8)}),
        r"tensor 'model.norm.weight' is I8: quantised weights are not read",
    ),
    "untied": (
        lambda tensors: tensors.update({"lm_head.weight": torch.ones(512, 64)}),
        r"ties lm_head.weight to model.embed_tokens.weight and their tensors differ",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_tensor_that_does_not_fit_fails_by_name(store: UnitStore, copy: Path, damage: str) -> None:
    change, expected = DAMAGES[damage]
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(WeightsError, match=f"expert 'tiny': .*{expected}"):
        import_expert(store, spec_of(copy))
    assert list((store.folder / "manifests").iterdir()) == []


def test_truncated_and_missing_files_fail_by_name(tmp_path: Path, store: UnitStore) -> None:
    folder = tiny_models.tiny_llama(tmp_path / "model", sharded=True)
    shard = sorted(folder.glob("*.safetensors"))[-1]
    os.truncate(shard, shard.stat().st_size - 10)
    with pytest.raises(WeightsError, match=f"{shard.name} is truncated or no safetensors"):
        import_expert(store, spec_of(folder))
    shard.unlink()
    with pytest.raises(WeightsError, match=f"{shard.name} is missing; fetch it again"):
        import_expert(store, spec_of(folder))


def test_tensor_in_two_shards_fails_by_name(tmp_path: Path, store: UnitStore) -> None:
    folder = tiny_models.tiny_llama(tmp_path / "model", sharded=True)
    first, second, *_ = sorted(folder.glob("*.safetensors"))
    save_file({**load_file(second), **load_file(first)}, second)
    with pytest.raises(WeightsError, match=f"is in .*{first.name} and .*{second.name}"):
        import_expert(store, spec_of(folder))


def test_adapter_of_another_base_fails_by_name(tmp_path: Path, store: UnitStore, lora_folder: Path) -> None:
    wide = tiny_models.tiny_llama(tmp_path / "wide", hidden_size=32)
    with pytest.raises(WeightsError, match=r"it was trained on another base"):
        import_expert(store, spec_of(wide, adapter=lora_folder))
    short = tiny_models.tiny_llama(tmp_path / "short", num_layers=2)
    with pytest.raises(
        WeightsError, match=r"adapter changes model.layers.2.* which the base .* has not; it was made for"
    ):
        import_expert(store, spec_of(short, adapter=lora_folder))


def test_adapter_of_a_tied_tensor_or_with_other_tensors_is_refused(
    tmp_path: Path, store: UnitStore, llama_folder: Path, lora_folder: Path
) -> None:
    tied = Path(shutil.copytree(lora_folder, tmp_path / "tied"))
    pair = {"A": torch.ones(2, 64), "B": torch.ones(512, 2)}
    names = {f"base_model.model.lm_head.lora_{part}.weight": tensor for part, tensor in pair.items()}
    save_file(names, tied / "adapter_model.safetensors")
    with pytest.raises(WeightsError, match=r"adapter changes lm_head.weight, which is tied"):
        import_expert(store, spec_of(llama_folder, adapter=tied))
    del names["base_model.model.lm_head.lora_B.weight"]
    save_file(names, tied / "adapter_model.safetensors")
    with pytest.raises(WeightsError, match="only one of A and B for lm_head"):
        import_expert(store, spec_of(llama_folder, adapter=tied))
    save_file({"base_model.model.score.weight": torch.ones(2)}, tied / "adapter_model.safetensors")
    with pytest.raises(WeightsError, match="is not part of a plain LoRA"):
        import_expert(store, spec_of(llama_folder, adapter=tied))


def test_source_files_are_never_written(store: UnitStore, copy: Path) -> None:
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in copy.iterdir()}
    import_expert(store, spec_of(copy))
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in copy.iterdir()} == before


def test_manifest_on_disk_is_readable_json(store: UnitStore, llama_folder: Path) -> None:
    manifest = import_expert(store, spec_of(llama_folder))
    written = json.loads((store.folder / "manifests" / f"{manifest.key}.json").read_text())
    assert [unit["name"] for unit in written["units"]] == [unit.name for unit in manifest.units]


BROKEN_MANIFESTS: dict[str, Callable[[str], str]] = {
    "emptied": lambda _: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda _: "[]",
    "an object": lambda _: "{}",
    "nested": lambda _: "[" * 100_000,
    "no units": lambda text: json.dumps({**json.loads(text), "units": []}),
    "units null": lambda text: json.dumps({**json.loads(text), "units": None}),
    "another key": lambda text: json.dumps({**json.loads(text), "key": "0"}),
    "a strange dtype": lambda text: text.replace('"F32"', '"F99"'),
    "a strange field": lambda text: json.dumps({**json.loads(text), "extra": 1}),
    "an offset outside": lambda text: text.replace('"offset": 0', '"offset": 123456789'),
    "a size in words": lambda text: text.replace('"size_bytes": ', '"size_bytes": "many", "was": '),
}


@pytest.mark.parametrize("damage", BROKEN_MANIFESTS)
def test_damaged_manifest_is_imported_anew(store: UnitStore, llama_folder: Path, damage: str) -> None:
    manifest = import_expert(store, spec_of(llama_folder))
    file = store.folder / "manifests" / f"{manifest.key}.json"
    file.write_text(BROKEN_MANIFESTS[damage](file.read_text()))
    assert import_expert(store, spec_of(llama_folder)) == manifest
    assert store.lookup(manifest.key) == manifest


def test_missing_units_are_imported_anew(store: UnitStore, llama_folder: Path) -> None:
    manifest = import_expert(store, spec_of(llama_folder))
    for unit in manifest.units[1:]:
        store.path(unit).unlink()
    assert import_expert(store, spec_of(llama_folder)) == manifest
    assert store.verify(manifest) == []


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_a_recorded_hash_disproves_another_base_of_the_same_shape(
    tmp_path: Path, store: UnitStore, llama_folder: Path, other_llama_folder: Path, lora_folder: Path, stored: str
) -> None:
    """The same base in another dtype is the same base."""
    adapter = Path(shutil.copytree(lora_folder, tmp_path / "adapter"))
    import_expert(store, spec_of(other_llama_folder, adapter=adapter))  # nothing is recorded, so nothing is disproved
    importer.record_base(spec_of(llama_folder, adapter=adapter))
    own = tiny_models.tiny_llama(tmp_path / "own", dtype=stored)
    import_expert(store, spec_of(own, adapter=adapter))
    with pytest.raises(WeightsError, match=r"trained on other weights, of .*/llama', than those in .*/other-llama"):
        import_expert(store, spec_of(other_llama_folder, adapter=adapter))
    import_expert(store, spec_of(other_llama_folder, adapter=adapter, checks_base=False))
