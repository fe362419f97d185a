"""The benchmark's expert is made in a folder of its own and answers as many at a time as it is told."""

from __future__ import annotations

from pathlib import Path

from coe.bench.http.tiny_expert import NAME, tiny_config


def test_the_configuration_names_one_expert(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, 7)
    (expert,) = config.experts
    assert expert.name == NAME
    assert config.engine.max_batch_size == 7
    assert not config.engine.prefix_reuse
