"""The hub's cache answers without a network; what it lacks is refused in the expert's name, with what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hub_cache import COMMIT, as_hub_cache, no_network

from coe.config.hub import DESCRIPTIONS, fetch
from coe.errors import SourceError


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", no_network)


@pytest.fixture
def hub(tmp_path: Path, llama_folder: Path) -> Path:
    as_hub_cache(tmp_path / "hub", "org/tiny", llama_folder)
    return tmp_path / "hub"


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_every_spelling_of_a_revision_is_found_in_the_cache(hub: Path, revision: str | None) -> None:
    folder = fetch("tiny", "org/tiny", revision, DESCRIPTIONS, hub)
    assert folder.name == COMMIT
    assert (folder / "config.json").is_file()


def test_a_pinned_commit_without_a_named_file_is_not_taken_for_whole(hub: Path) -> None:
    next(hub.glob("*/snapshots/*/model.safetensors")).unlink()
    folder = fetch("tiny", "org/tiny", COMMIT, ["model.safetensors"], hub)
    assert not (folder / "model.safetensors").exists()  # the hub was asked, is away, and the catalogue names the file


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_what_the_cache_lacks_is_refused_by_name(hub: Path, revision: str | None) -> None:
    with pytest.raises(SourceError, match=r"expert 'law': hub id 'org/gone'.*connect once, or name a folder"):
        fetch("law", "org/gone", revision, DESCRIPTIONS, hub)
