"""`coe router opinion` asks the general expert alone, and refuses prompts that it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compositions import write_config
from router_fakes import FakeEncoder

from coe.cli import main
from coe.cli.router_commands import opinion as router_opinion

WORDS = ("red", "green", "blue", "pink", "gold", "grey")


def prompts(folder: Path, categories: tuple[str, ...] = ("math", "sql")) -> Path:
    rows = [
        {"prompt": f"{word} {family} {number}", "category": category, "family": f"{category} {family}"}
        for category in categories
        for family in range(6)
        for number, word in enumerate(WORDS)
    ]
    file = folder / "prompts.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture
def config(tmp_path: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(router_opinion, "load_encoder", lambda *_: FakeEncoder())
    return write_config(tmp_path, {"general": llama_folder, "other": llama_folder})


def test_the_general_expert_is_asked_about_unsure_prompts_and_both_opinions_are_judged(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["router", "opinion", str(prompts(tmp_path)), "-c", str(config), "--below", "0.99", "--rows", "12"]
    assert main([*words, "--per-family", "2", "--json", str(tmp_path / "out.json")]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads((tmp_path / "out.json").read_text())
    assert told["report"]["num_prompts"] == 12
    assert 0 <= told["report"]["language_model"] <= 1
    assert told["report"]["difference"]["low"] <= told["report"]["difference"]["high"]
    assert told["setting"]["categories"] == ["math", "sql"]


def test_a_category_without_a_description_and_a_threshold_that_nothing_is_below_are_refused(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["router", "opinion", str(prompts(tmp_path)), "-c", str(config)]
    assert main([*words, "--below", "0.01"]) == 2
    assert "no prompt is unsure below 0.01" in capsys.readouterr().err
    prompts(tmp_path, ("math", "poetry"))
    assert main(words) == 2
    assert "category 'poetry': it has no description" in capsys.readouterr().err
