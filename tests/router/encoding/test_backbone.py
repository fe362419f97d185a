"""A folder that transformers cannot read is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.encoding.encoder import Encoder


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="transformers cannot read"):
        Encoder(str(tmp_path))
