"""In place: units as an import would have written them, made from the experts' own files, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny_models
from compositions import ask, outcome, with_runtime, write_config

from coe.assembly.import_experts import imported_experts
from coe.config.catalog import ExpertSpec
from coe.config.read import load_config
from coe.errors import ConfigError
from coe.runtime import Runtime
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.originals import OriginalFiles
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Unit


def spec(folder: Path, **more: object) -> ExpertSpec:
    return ExpertSpec("x", "somewhere", folder, folder, **more)  # type: ignore[arg-type]


def tensors(unit: Unit, flat: memoryview) -> dict[str, bytes]:
    return {each.name: bytes(flat[each.offset : each.offset + each.size_bytes]) for each in unit.tensors}


def read(source: UnitStore | OriginalFiles, unit: Unit) -> dict[str, bytes]:
    target = memoryview(bytearray(unit.size_bytes))
    for part in source.reads(unit, target):
        part()
    source.check(unit, target)
    return tensors(unit, target)


@pytest.mark.parametrize(
    ("stored", "dtype", "sharded", "tied"),
    [
        ("float32", "float32", False, True),
        ("bfloat16", "float32", True, False),
        ("float16", "bfloat16", False, True),
    ],
)
def test_units_are_those_of_an_import(tmp_path: Path, stored: str, dtype: str, sharded: bool, tied: bool) -> None:
    folder = tiny_models.tiny_llama(tmp_path / "m", dtype=stored, sharded=sharded, tied=tied)
    store, originals = UnitStore(tmp_path / "store"), OriginalFiles()
    imported = import_expert(store, spec(folder), StoredForm(dtype))
    described = originals.add(spec(folder), StoredForm(dtype))
    assert described.tied == imported.tied
    for ours, theirs in zip(described.units, imported.units, strict=True):
        assert (ours.name, ours.size_bytes, ours.tensors) == (theirs.name, theirs.size_bytes, theirs.tensors)
        assert read(originals, ours) == read(store, theirs)


def test_an_adapter_is_merged_as_an_import_merges_it_and_shares_what_it_leaves_alone(
    tmp_path: Path, llama_folder: Path, lora_folder: Path
) -> None:
    store, originals = UnitStore(tmp_path / "store"), OriginalFiles()
    imported = import_expert(store, spec(llama_folder, adapter=lora_folder))
    described = originals.add(spec(llama_folder, adapter=lora_folder), StoredForm("float32"))
    base = originals.add(spec(llama_folder), StoredForm("float32"))
    for ours, theirs in zip(described.units, imported.units, strict=True):
        assert read(originals, ours) == read(store, theirs)
    shared = {unit.name for unit, own in zip(described.units, base.units, strict=True) if unit.hash == own.hash}
    assert {"embed", "head"} <= shared
    assert "layer.0" not in shared


@pytest.mark.parametrize("damage", ["short", "touched", "missing"])
def test_a_file_that_changed_fails_its_expert_by_name_and_no_other(
    tmp_path: Path, llama_folder: Path, damage: str
) -> None:
    other = tiny_models.tiny_qwen3(tmp_path / "other", seed=9)
    config = write_config(tmp_path, {"llama": llama_folder, "other": other})
    config.write_text(config.read_text().replace("host_bytes", 'store = "in-place"\nhost_bytes'))

    async def work(runtime: Runtime) -> None:
        before = await ask(runtime, "other", "hello", 4)
        await runtime.operator.unload("other")
        file = other / "model.safetensors"
        match damage:
            case "short":
                os.truncate(file, 1000)
            case "touched":
                os.utime(file, (1, 1))
            case _:
                file.unlink()
        assert before
        assert await outcome(runtime, "other", "hello", 4) == "WeightsError"
        assert "model.safetensors" in str(
            next(each.error for each in runtime.operator.experts() if each.name == "other")
        )
        assert await ask(runtime, "llama", "hello", 4)

    with_runtime(config, work)


def test_answers_are_the_same_and_nothing_is_written(tmp_path: Path, llama_folder: Path, lora_folder: Path) -> None:
    config = write_config(tmp_path, {"llama": llama_folder, "tuned": lora_folder})
    text = config.read_text()
    answers = []
    for kind in ("in-place", "units"):
        config.write_text(text.replace("host_bytes", f'store = "{kind}"\nhost_bytes'))

        async def work(runtime: Runtime) -> list[list[int]]:
            return [await ask(runtime, name, "What is the capital of France?", 12) for name in ("llama", "tuned")]

        answers.append(with_runtime(config, work))
        if kind == "in-place":
            assert UnitStore(tmp_path / "store").disk_bytes() == 0
            with pytest.raises(ConfigError, match="in-place"):
                imported_experts(load_config(config))
    assert answers[0] == answers[1]
