"""What a result depends on, how long an answer may be, and what experts cost."""

from __future__ import annotations

import json
from pathlib import Path

from compositions import with_runtime, write_config

from coe.experts import identity_of
from coe.runtime import Runtime
from coe.scoring.labelled import LabelledRow
from coe.scoring.results import Result
from coe.scoring.run import Settings, max_tokens, write_table
from coe.types import Message
from coe.weights.unit import Manifest, TensorSpec, Unit


def test_an_expert_is_known_by_its_bytes_and_settings_not_by_its_name(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path
) -> None:
    config = write_config(tmp_path, {"general": llama_folder, "twin": llama_folder, "other": other_llama_folder})
    changed = tmp_path / "changed"
    changed.mkdir()
    penalised = write_config(changed, {"general": llama_folder})
    text = penalised.read_text().replace(f'general = "{llama_folder}"\n', "")
    penalised.write_text(
        f'{text}\n[experts.general]\nsource = "{llama_folder}"\ngeneration = {{repetition_penalty = 1.5}}\n'
    )

    async def names(runtime: Runtime) -> dict[str, str]:
        return {name: identity_of(expert) for name, expert in runtime.experts.served.items()}

    found = with_runtime(config, names)
    assert found["general"] == found["twin"] != found["other"]
    assert with_runtime(penalised, names)["general"] != found["general"]


def test_a_mixture_pays_for_the_experts_that_a_token_uses() -> None:
    specs = (TensorSpec("model.layers.0.mlp.experts.3.up_proj.weight", "F32", (8, 10), 0),)
    specs += (TensorSpec("model.layers.0.mlp.shared_experts.up_proj.weight", "F32", (2, 10), 0),)
    shape = {"num_experts_per_tok": 2, "num_local_experts": 8}
    manifest = Manifest("", "", "float32", shape, {}, "", (Unit("layer.0", "", 0, specs),), {})
    assert (manifest.num_parameters, manifest.num_active_parameters) == (100, 40)


def row(check: str, reference: str, own_limit: int | None = None) -> LabelledRow:
    return LabelledRow("1", "a", (Message("user", "?"),), check, reference, max_tokens=own_limit)


def test_an_answer_may_be_as_long_as_its_check_needs_unless_a_limit_is_named() -> None:
    assert max_tokens(row("exact", "\u00e9"), Settings()) == 2 + 16
    assert max_tokens(row("first_word", "yes"), Settings()) == 8
    assert max_tokens(row("first_word", "yes"), Settings(max_tokens=3)) == 3
    assert max_tokens(row("first_word", "yes", own_limit=5), Settings(max_tokens=3)) == 5


def test_the_table_has_a_line_a_row_and_a_hole_where_there_is_no_score(tmp_path: Path) -> None:
    out = tmp_path / "new" / "scores.jsonl"
    scored = {"a": [Result("k", "a", "1", 1.0)], "b": [Result("l", "b", "1", None, error="too long")]}
    write_table(out, [row("exact", "x")], scored)
    assert json.loads(out.read_text()) == {
        "id": "1",
        "prompt": "?",
        "category": "a",
        "check": "exact",
        "scores": {"a": 1.0, "b": None},
    }
    assert [path.name for path in out.parent.iterdir()] == ["scores.jsonl"]
