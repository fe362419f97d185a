"""One backend per expert, chosen once, by what the processor has and the form in which the expert is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from coe.assembly.backends import Backends, choose, share_pages
from coe.assembly.processor import Processor
from coe.config.catalog import ExpertSpec
from coe.errors import ConfigError, WeightsError
from coe.models.cuda.cuda_llama import CudaLlama
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

COMPILES = Processor(torch.device("cpu"), has_compiler=True, has_exact_int8=True)
PLAIN = Processor(torch.device("cpu"))
PAGES = Processor(torch.device("cpu"), has_pages=True)  # as on CUDA, with a CPU's tensors

FORMS = {
    "f32": StoredForm("float32"),
    "bf16": StoredForm("float32", "bfloat16"),
    "int8": StoredForm("float32", "int8"),
    "torch bf16": StoredForm("bfloat16"),
    "torch f16": StoredForm("float16"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> UnitStore:
    return UnitStore(tmp_path_factory.mktemp("backends"))


def manifest_of(store: UnitStore, folder: Path, form: str) -> Manifest:
    return import_expert(store, ExpertSpec("tiny", str(folder), folder, folder), FORMS[form])


def backend_of(manifest: Manifest, processor: Processor) -> str:
    return Backends(processor).model_for(manifest, choose("tiny", manifest, processor)).backend


@pytest.mark.parametrize(
    ("form", "processor", "expected"),
    [
        ("f32", COMPILES, "llama/cpu-compiled/f32"),
        ("bf16", COMPILES, "llama/cpu-compiled/bf16"),
        ("int8", COMPILES, "llama/cpu-compiled/int8"),
        ("torch bf16", COMPILES, "llama/torch/bf16"),
        ("torch f16", COMPILES, "llama/torch/f16"),
        ("f32", PLAIN, "llama/torch/f32"),
        ("torch bf16", PLAIN, "llama/torch/bf16"),
    ],
)
def test_the_backend_has_a_name(
    store: UnitStore, llama_folder: Path, form: str, processor: Processor, expected: str
) -> None:
    assert backend_of(manifest_of(store, llama_folder, form), processor) == expected


def test_other_architectures_run_through_transformers(store: UnitStore, gpt2_folder: Path) -> None:
    for form, expected in (("f32", "transformers/torch/f32"), ("torch bf16", "transformers/torch/bf16")):
        assert backend_of(manifest_of(store, gpt2_folder, form), COMPILES) == expected


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_a_stored_form_that_nothing_here_multiplies_is_refused_by_name(
    store: UnitStore, llama_folder: Path, form: str
) -> None:
    """A store that was filled on another machine."""
    with pytest.raises(WeightsError, match=r"expert 'tiny'.*no backend"):
        choose("tiny", manifest_of(store, llama_folder, form), PLAIN)


def test_experts_of_one_shape_and_form_share_a_model(
    store: UnitStore, llama_folder: Path, other_llama_folder: Path
) -> None:
    backends = Backends(COMPILES)
    models = [
        backends.model_for(manifest, choose("tiny", manifest, COMPILES))
        for manifest in (
            manifest_of(store, llama_folder, "f32"),
            manifest_of(store, other_llama_folder, "f32"),
            manifest_of(store, llama_folder, "int8"),
        )
    ]
    assert models[0] is models[1]
    assert models[0] is not models[2]


def test_experts_with_pages_share_one_buffer(store: UnitStore, llama_folder: Path, qwen3_folder: Path) -> None:
    manifests = {"a": manifest_of(store, llama_folder, "f32"), "b": manifest_of(store, qwen3_folder, "f32")}
    choices = {name: choose(name, manifest, PAGES) for name, manifest in manifests.items()}
    pages = share_pages(choices, 1 << 20, PAGES)
    assert pages is not None
    backends = Backends(PAGES, pages)
    models = [backends.model_for(manifests[name], choices[name]) for name in manifests]
    assert [model.backend for model in models] == ["llama/cuda/f32", "llama/cuda/f32"]
    assert all(isinstance(model, CudaLlama) and model.kv.pages is pages for model in models)
    with pytest.raises(ConfigError, match="kv_bytes = 1,000 is less than two blocks"):
        share_pages(choices, 1000, PAGES)


def test_one_expert_without_pages_keeps_all_contiguous_and_is_named(
    store: UnitStore, llama_folder: Path, gpt2_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifests = {"a": manifest_of(store, llama_folder, "f32"), "other": manifest_of(store, gpt2_folder, "f32")}
    choices = {name: choose(name, manifest, PAGES) for name, manifest in manifests.items()}
    assert share_pages(choices, 1 << 20, PAGES) is None
    assert "other has another architecture" in caplog.text
    assert Backends(PAGES).model_for(manifests["a"], choices["a"]).backend == "llama/torch/f32"


def test_prompts_are_rounded_only_where_that_is_allowed_and_matrices_are_bfloat16(
    store: UnitStore, llama_folder: Path
) -> None:
    for form, allowed, expected in (
        ("bf16", True, "llama/cpu-compiled/bf16-native"),
        ("bf16", False, "llama/cpu-compiled/bf16"),
        ("int8", True, "llama/cpu-compiled/int8"),
        ("f32", True, "llama/cpu-compiled/f32"),
    ):
        manifest = manifest_of(store, llama_folder, form)
        choice = choose("tiny", manifest, COMPILES, rounds_prompts=allowed)
        assert Backends(COMPILES).model_for(manifest, choice).backend == expected
