"""Variables, home and the cache folder expand in every path of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from configurations import read

from coe.config.paths import cache_dir, expand


def test_variables_and_home_expand_in_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MODELS", str(folder))
    monkeypatch.delenv("COE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    text = '[experts]\ngeneral = "~/a"\nb = "${MODELS}/b"\n'
    config = read(folder, text + '[cache]\ndir = "${COE_CACHE}/other"')
    assert [expert.source.folder for expert in config.experts] == [folder / "a", folder / "b"]
    assert config.cache.dir == folder / "cache" / "coe" / "other"
    monkeypatch.setenv("COE_CACHE", str(folder / "mine"))
    assert read(folder, text).cache.dir == folder / "mine" / "store"


def test_a_path_is_relative_to_the_folder_and_normal(tmp_path: Path) -> None:
    assert expand("../x/./y", tmp_path / "z") == tmp_path / "x" / "y"
    assert expand("/abs", tmp_path) == Path("/abs")


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="environment variable 'NO_SUCH_VARIABLE' is not set"):
        expand("${NO_SUCH_VARIABLE}/a", tmp_path)


def test_the_cache_folder_is_the_users_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_dir() == Path("/home/somebody/.cache/coe")
