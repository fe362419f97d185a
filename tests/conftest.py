"""Models that many tests read and none writes, made once per session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test may reach for a network
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import tiny_models
from compositions import write_config

if TYPE_CHECKING:
    from server_live import Live


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def other_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture with other weights."""
    return tiny_models.tiny_llama(tmp_path_factory.mktemp("models") / "other-llama", seed=1)


@pytest.fixture(scope="session")
def untied_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_llama(tmp_path_factory.mktemp("models") / "untied-llama", seed=2, tied=False)


@pytest.fixture(scope="session")
def qwen2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_qwen2(tmp_path_factory.mktemp("models") / "qwen2", seed=3)


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_qwen3(tmp_path_factory.mktemp("models") / "qwen3", seed=4)


@pytest.fixture(scope="session")
def mistral_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_mistral(tmp_path_factory.mktemp("models") / "mistral", seed=5)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_gpt2(tmp_path_factory.mktemp("models") / "gpt2", seed=6)


@pytest.fixture(scope="session")
def lora_folder(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Path:
    """A PEFT adapter of `llama_folder`."""
    return tiny_models.tiny_lora(tmp_path_factory.mktemp("adapters") / "lora", llama_folder, seed=7)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    """A server over two tiny experts, `general` and `other`."""
    from server_live import live_server  # not needed, and perhaps not installed, where only the GPU tests run

    config = write_config(tmp_path_factory.mktemp("live"), {"general": llama_folder, "other": other_llama_folder})
    with live_server(config) as server:
        yield server
