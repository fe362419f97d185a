"""From a configuration to a runtime: shared models, defaults, what is left out, what stops everything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_models
from compositions import ask, with_runtime, write_config

from coe.assembly.import_experts import imported_experts
from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.errors import ConfigError
from coe.runtime import Runtime
from coe.types import Tier
from router import GeneralOnly


def build(file: Path) -> Runtime:
    config = load_config(file)
    return build_runtime(config, GeneralOnly(general=config.router.general, names=config.names))


def test_experts_of_one_shape_share_a_model_and_others_do_not(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path, qwen3_folder: Path, gpt2_folder: Path
) -> None:
    folders = {"a": llama_folder, "b": other_llama_folder, "c": qwen3_folder, "d": gpt2_folder}
    runtime = build(write_config(tmp_path, folders))
    models = {name: expert.loaded.model for name, expert in runtime.experts.served.items()}
    assert models["a"] is models["b"]
    assert len({id(model) for model in models.values()}) == 3
    assert {name: expert.loaded.model.backend for name, expert in runtime.experts.served.items()} == {
        "a": "llama/cpu-compiled/f32",
        "b": "llama/cpu-compiled/f32",
        "c": "llama/cpu-compiled/f32",
        "d": "transformers/torch/f32",
    }
    runtime.engine.close()


def test_equal_weights_under_two_names_are_loaded_once(tmp_path: Path, llama_folder: Path) -> None:
    folders = {"a": llama_folder, "b": Path(shutil.copytree(llama_folder, tmp_path / "copy"))}

    async def work(runtime: Runtime) -> None:
        await runtime.operator.load("a")
        tiers = {
            status.name: (status.tier, status.size_bytes - status.shared_bytes) for status in runtime.operator.experts()
        }
        assert tiers == {"a": (Tier.DEVICE, 0), "b": (Tier.DEVICE, 0)}
        assert await ask(runtime, "a", "hello", 8) == await ask(runtime, "b", "hello", 8)

    with_runtime(write_config(tmp_path, folders), work)


def test_pinned_and_preloaded_experts_are_there_at_the_start(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path, qwen3_folder: Path
) -> None:
    file = write_config(tmp_path, {"llama": llama_folder})
    tables = f'[experts.pinned]\nsource = "{other_llama_folder}"\npin = true\n'
    tables += f'[experts.preloaded]\nsource = "{qwen3_folder}"\npreload = true\n'
    file.write_text(file.read_text() + "\n" + tables)

    async def work(runtime: Runtime) -> None:
        assert runtime.is_ready
        assert {status.name: (status.tier, status.is_pinned) for status in runtime.operator.experts()} == {
            "llama": (Tier.DISK, False),
            "pinned": (Tier.DEVICE, True),
            "preloaded": (Tier.DEVICE, False),
        }

    with_runtime(file, work)


def test_pins_that_do_not_fit_are_left_out_and_the_server_starts(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path
) -> None:
    file = write_config(tmp_path, {"llama": llama_folder})
    pins = "".join(
        f'[experts.{name}]\nsource = "{folder}"\npin = true\n'
        for name, folder in (("one", other_llama_folder), ("two", tiny_models.tiny_llama(tmp_path / "two", 30)))
    )
    file.write_text(file.read_text().replace('"64MB"', '"1MB"') + "\n" + pins)

    async def work(runtime: Runtime) -> None:
        assert sum(status.is_pinned for status in runtime.operator.experts()) == 1
        assert {status.tier for status in runtime.operator.experts() if status.is_pinned} == {Tier.DEVICE}

    with_runtime(file, work)


def test_second_start_imports_nothing(tmp_path: Path, llama_folder: Path, qwen3_folder: Path) -> None:
    config = load_config(write_config(tmp_path, {"a": llama_folder, "b": qwen3_folder}))
    store, first, _ = imported_experts(config)
    before = {path: path.stat().st_mtime_ns for path in store.folder.glob("units/*/*")}
    _, second, errors = imported_experts(config)
    assert [each.manifest for each in second] == [each.manifest for each in first]
    assert {path: path.stat().st_mtime_ns for path in store.folder.glob("units/*/*")} == before
    assert errors == {}


def test_an_expert_that_is_refused_is_named_and_the_rest_is_served(
    tmp_path: Path, llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Even the general one: then prompts that the router is unsure of have no answer, and the log says so."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    runtime = build(write_config(tmp_path, {"broken": broken, "llama": llama_folder}))
    runtime.engine.close()
    assert runtime.experts.served.keys() == {"llama"}
    assert "expert 'broken': " in caplog.text
    assert "the general expert 'broken' is refused" in caplog.text


def test_a_composition_of_refused_experts_alone_is_refused_with_all_of_them(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("one", "two")}
    for folder in folders.values():
        folder.mkdir()
    with pytest.raises(ConfigError, match=r"(?s)none of the 2 experts can be served.*'one'.*'two'"):
        build(write_config(tmp_path, folders))
