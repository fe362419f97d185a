"""coe as a contender says what transformers says, and times every token."""

from __future__ import annotations

from pathlib import Path

from compositions import write_config

from coe.bench.engine.coe_contender import Coe
from coe.bench.engine.grid import chosen_expert
from coe.bench.engine.transformers_contenders import TransformersGenerate, open_with_transformers
from coe.config.read import load_config

PROMPTS = [[7, 8, 9, 10, 11], [40, 41, 42, 43, 44]]


def test_contenders_say_the_same_and_time_every_token(tmp_path: Path, llama_folder: Path) -> None:
    config = load_config(write_config(tmp_path, {"general": llama_folder}))
    ours = Coe(config, *chosen_expert(config, None))
    theirs = TransformersGenerate(open_with_transformers(llama_folder, "float32"), "float32")
    found, expected = ours.run(PROMPTS, 6), theirs.run(PROMPTS, 6)
    ours.close()
    assert found.token_ids == expected.token_ids
    for trace in (found, expected):
        assert all(len(times) == 6 and times == sorted(times) and times[0] > 0 for times in trace.token_s)
