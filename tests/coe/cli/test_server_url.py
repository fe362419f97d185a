"""Which server a command asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from compositions import write_config

from coe.cli.server_url import url_of
from coe.errors import ConfigError


def test_a_url_that_is_named_counts(tmp_path: Path) -> None:
    assert url_of("http://box:1/v1", str(tmp_path / "gone.toml")) == "http://box:1/v1"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:18100"),
        ("0.0.0.0", "http://127.0.0.1:18100"),
        ("::", "http://[::1]:18100"),
        ("::1", "http://[::1]:18100"),
        ("box", "http://box:18100"),
    ],
)
def test_a_configurations_server_is_asked_where_it_listens(
    tmp_path: Path, llama_folder: Path, host: str, url: str
) -> None:
    config = write_config(tmp_path, {"general": llama_folder}, f'[server]\nhost = "{host}"\nport = 18100')
    assert url_of(None, str(config)) == url


def test_without_a_configuration_here_the_default_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert url_of(None, "coe.toml") == "http://127.0.0.1:8000"
    with pytest.raises(ConfigError, match=r"my\.toml"):
        url_of(None, "my.toml")
